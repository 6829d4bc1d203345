"""Heals as metrics."""

from __future__ import annotations

from pathlib import Path

from aiidpd.components.containers.heal.metrics import HealsCollector
from aiidpd.components.containers.heal.protocols import HealSubject
from tests.fakes.clock import FakeClock
from tests.unit.components.containers.heal.test_controller import House


async def test_what_was_done_and_what_is_left_has_a_series(clock: FakeClock, tmp_path: Path) -> None:
    house = House(tmp_path, clock)
    collector = HealsCollector(house.book)
    assert list(collector.describe()) == []

    def value(name: str) -> dict[tuple[str, ...], float]:
        return {
            tuple(sample.labels.values()): sample.value
            for family in collector.collect()
            for sample in family.samples
            if sample.name == name
        }

    assert value("aiidpd_container_heal_budget_left") == {}
    async with house.running():
        await house.until(lambda: house.book.observed)
        assert value("aiidpd_container_heal_budget_left") == {("vllm",): 5}
        seen: list[dict[tuple[str, ...], float]] = []

        async def look(_subject: HealSubject) -> None:
            seen.append(value("aiidpd_container_healing"))

        house.collector.before = look
        house.sicken()
        await house.event("heal_ended")
    assert seen == [{("vllm", "container_unhealthy"): 1}]
    assert value("aiidpd_container_heals_total") == {("vllm", "container_unhealthy", "healed"): 1}
    assert value("aiidpd_container_heal_budget_left") == {("vllm",): 4}
    assert value("aiidpd_container_heal_seconds_total")[("vllm",)] >= 0
    assert value("aiidpd_container_healing") == {}
