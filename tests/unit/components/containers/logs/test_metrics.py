from __future__ import annotations

from dataclasses import replace

from aiidpd.components.containers.logs.metrics import LogsCollector
from tests.fakes.clock import FakeClock, settle
from tests.unit.components.containers.logs.test_watcher import LOST, VLLM, House


def samples(house: House) -> dict[tuple[str, str], float]:
    collector = LogsCollector(house.memory, house.failures, house.latest.get)
    return {
        (sample.name, next(iter(sample.labels.values()))): sample.value
        for family in collector.collect()
        for sample in family.samples
    }


async def test_rates_and_lost_gpus_by_container_and_failures_by_name(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        house.logs.write(VLLM, clock.time() + 1, *["x"] * 29, LOST)
        await clock.advance(30)
        found = samples(house)
        assert found["aiidpd_container_log_lines_per_second", "vllm"] == 1.0
        assert found["aiidpd_container_log_bytes_per_second", "vllm"] > 30
        assert found["aiidpd_container_gpu_lost", "vllm"] == 1.0
        assert found["aiidpd_container_failures_named_total", "disk_full"] == 0.0
        house.logs.write(VLLM, clock.time(), "No space left on device")
        house.die(1)
        house.show(replace(house.vllm, state="exited"))
        await settle()
        await clock.advance(30)
        found = samples(house)
        assert found["aiidpd_container_failures_named_total", "disk_full"] == 1.0
        assert ("aiidpd_container_log_lines_per_second", "vllm") not in found  # it does not run
        house.latest.clear()
        assert {name for name, _ in samples(house)} == {"aiidpd_container_failures_named_total"}
