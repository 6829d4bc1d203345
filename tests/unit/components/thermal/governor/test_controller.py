"""Controller: nothing is set that could not be restored, nothing believed that was not read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aiidpd.components.thermal.commands import Command, LockClocks, ResetClocks, SetPowerLimit
from aiidpd.components.thermal.faults import DIED, NO_ANSWER, GpuFault
from aiidpd.components.thermal.governor.controller import GovernorController
from aiidpd.components.thermal.governor.journal import NAME, Baseline, RestoreJournal
from aiidpd.components.thermal.governor.metrics import GovernorCollector
from aiidpd.components.thermal.governor.state import GovernanceView, Tally
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.settings import GovernorMode, GovernorSettings
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from tests.believed import believed
from tests.fakes.clock import FakeClock
from tests.unit.components.thermal.governor.governed import ON, UUID, reading

OTHER = "GPU-1"
CARD = Baseline(0, "card", 280.0, clocks=True)


class ObedientGpus:
    """Two cards that take each command but those in ``faults``, by type."""

    simulated = False
    holding = False

    def __init__(self, journal: Path) -> None:
        self.cards = {UUID: reading(60.0), OTHER: reading(60.0, uuid=OTHER, index=1)}
        self.faults: dict[type, GpuFault] = {}
        self.deaf = False
        self.journal = journal
        self.applied: list[Command] = []
        self.journaled: list[Mapping[str, Any]] = []
        self.gone: Exception | None = None

    async def read(self, *, fast: bool = False) -> GpuSnapshot:
        del fast
        if self.gone is not None:
            raise self.gone
        return GpuSnapshot(tuple(self.cards.values()), "580", simulated=False)

    async def apply(self, command: Command) -> GpuFault | None:
        self.applied.append(command)
        self.journaled.append(json.loads(self.journal.read_text())["gpus"])
        if command.uuid not in self.cards:
            return GpuFault(None, "nvmlDeviceGetHandleByUUID", 6, "NOT_FOUND")
        if type(command) in self.faults:
            return self.faults[type(command)]
        if isinstance(command, SetPowerLimit) and not self.deaf:
            self.set(command.uuid, power_limit_set_watts=command.watts)
        return None

    def set(self, uuid: str, **figures: float | None) -> None:
        self.cards[uuid] = replace(self.cards[uuid], **figures)  # type: ignore[arg-type]

    async def aclose(self) -> None:
        """Nothing is held."""


class House:
    """A governor on obedient cards, and everything that leaves it."""

    def __init__(self, clock: FakeClock, folder: Path) -> None:
        self.clock = clock
        self.path = folder / NAME
        self.gpus = ObedientGpus(self.path)
        self.events: list[Event] = []
        self.tally = Tally()
        self.latest: Latest[GovernanceView] = Latest(clock, 5.0)
        self.bus = EventBus()
        self.bus.attach(events=self.events.append)
        self.conditions = Conditions(clock, self.bus)
        self.governor = self.made(ON)

    def made(self, settings: GovernorSettings) -> GovernorController:
        return GovernorController(
            self.gpus,
            settings.model_copy(update={"back_off_containers": ("vllm", "comfy")}),
            RestoreJournal(self.path, boot_id="this boot"),
            latest=self.latest,
            tally=self.tally,
            publish=Publisher(self.bus, self.clock, "thermal"),
            messages=Messages(self.clock),
            conditions=self.conditions,
            clock=self.clock,
        )

    async def passes(self, count: int = 1, temperature: float | None = None) -> None:
        if temperature is not None:
            self.gpus.set(UUID, temperature_celsius=temperature)
        for _ in range(count):
            await self.clock.advance(1.0)
            read = await self.gpus.read()
            await self.governor.act(believed(read.gpus, self.clock.monotonic()))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def found(self) -> list[Condition]:
        return [each for each in self.conditions.active() if each.type.startswith("gpu_governor")]

    def limit(self, uuid: str = UUID) -> float | None:
        return self.gpus.cards[uuid].power_limit_set_watts

    def journal(self) -> Mapping[str, Any]:
        return dict(json.loads(self.path.read_text())["gpus"]) if self.path.exists() else {}

    def leave(self, boot: str = "this boot", **gpus: Baseline) -> None:
        RestoreJournal(self.path, boot_id=boot).write(gpus)


@pytest.fixture
def house(clock: FakeClock, tmp_path: Path) -> House:
    return House(clock, tmp_path)


async def test_the_baseline_is_on_the_disk_before_the_first_setting(house: House) -> None:
    await house.passes(1, 95.0)

    assert house.limit() == 180.0
    assert [journal[UUID]["power_limit_watts"] for journal in house.gpus.journaled] == [300.0]
    assert house.kinds() == ["gpu.governor_acted"]
    (acted,) = house.events
    assert acted.severity is Severity.WARNING
    assert acted.evidence["power_limit_watts"] == 180.0
    assert acted.evidence["over_target_celsius"] == 8.0
    assert "sets a power limit of 180 W" in acted.reason


async def test_that_clocks_may_be_locked_is_on_the_disk_before_the_first_locking(house: House) -> None:
    await house.passes(10, 95.0)

    locked = [
        journal[UUID]["clocks"]
        for command, journal in zip(house.gpus.applied, house.gpus.journaled, strict=True)
        if isinstance(command, LockClocks)
    ]
    assert locked
    assert all(locked)
    assert house.gpus.journaled[0][UUID]["clocks"] is False


async def test_the_journal_goes_when_a_reading_shows_the_baseline_and_not_before(house: House) -> None:
    await house.passes(2, 95.0)
    house.gpus.set(UUID, temperature_celsius=40.0)
    while house.limit() != 300.0:
        await house.passes()
        assert house.journal()
    house.gpus.set(UUID, power_limit_set_watts=None)  # for a moment it can't be read
    await house.passes(3)
    assert house.journal()
    house.gpus.set(UUID, power_limit_set_watts=300.0)
    await house.passes()

    assert not house.path.exists()
    assert house.kinds()[-1] == "gpu.governor_restored"
    assert house.tally.restored == {(0, UUID): 1}


async def test_what_can_not_be_written_down_is_not_set(house: House, tmp_path: Path) -> None:
    await house.passes()
    away = tmp_path.with_suffix(".gone")
    tmp_path.rename(away)  # noqa: ASYNC240 -- nothing else runs
    await house.passes(30, 95.0)
    assert house.gpus.applied == []
    (condition,) = house.found()
    assert (condition.type, condition.severity) == ("gpu_governor_lease", Severity.ERROR)
    assert "no GPU is changed without it" in condition.reason

    away.rename(tmp_path)
    await house.passes(30)
    assert house.limit() == 150.0
    assert house.found() == []


async def test_without_the_right_it_says_so_once_and_goes_on_as_a_dry_run(house: House) -> None:
    house.gpus.faults[SetPowerLimit] = GpuFault(0, "nvmlDeviceSetPowerManagementLimit", 4, "NO_PERMISSION")
    await house.passes(60, 95.0)

    assert len(house.gpus.applied) == 1
    assert not house.path.exists()
    (condition,) = house.found()
    assert (condition.type, condition.severity) == ("gpu_governor_denied", Severity.WARNING)
    assert "CAP_SYS_ADMIN" in condition.remedy
    assert house.kinds().count("finding.raised") == 1
    acted = [event for event in house.events if event.kind == "gpu.governor_acted"]
    assert acted
    assert all(event.evidence["dry_run"] and event.severity is Severity.INFO for event in acted)
    assert "gpu.back_off" not in house.kinds(), "a dry run requests nothing of others"
    view = house.latest.get()
    assert view is not None
    assert view.value.mode is GovernorMode.DRY_RUN

    house.governor = house.made(ON)  # the drop-in was installed, the worker replaced
    house.gpus.faults.clear()
    await house.passes(2)
    assert house.found() == []
    assert house.limit() == 150.0


@pytest.mark.parametrize("name", [NO_ANSWER, DIED, "UNKNOWN", "GPU_IS_LOST", "TIMEOUT"])
async def test_a_setter_that_fails_is_tried_again_and_put_back_all_the_same(house: House, name: str) -> None:
    house.gpus.faults[SetPowerLimit] = GpuFault(0, "SetPowerLimit", None, name)
    await house.passes(25, 95.0)
    assert house.journal()[UUID]["power_limit_watts"] == 300.0
    assert 2 <= len(house.gpus.applied) <= 6

    house.gpus.faults.clear()
    await house.passes(15)
    assert house.limit() == 150.0
    await house.governor.restore()
    assert house.limit() == 300.0
    assert not house.path.exists()


async def test_a_card_that_takes_a_limit_and_keeps_its_own_is_not_called_restored(house: House) -> None:
    await house.passes(2, 95.0)
    house.gpus.deaf = True
    await house.governor.restore()

    assert house.journal()
    (condition,) = house.found()
    assert condition.type == "gpu_governor_restore"
    assert condition.severity is Severity.ERROR
    assert "its power limit is 150 W, not 300 W" in condition.reason
    assert f"nvidia-smi -i {UUID} -pl 300" in condition.remedy


async def test_a_restore_that_is_refused_is_reported_and_tried_again_by_the_next_run(house: House) -> None:
    await house.passes(2, 95.0)
    house.gpus.faults[SetPowerLimit] = GpuFault(0, "nvmlDeviceSetPowerManagementLimit", 999, "UNKNOWN")
    await house.governor.restore()
    assert house.journal()
    house.governor = house.made(GovernorSettings(mode=GovernorMode.OFF))
    await house.passes(15)
    assert [condition.type for condition in house.found()] == ["gpu_governor_restore"]
    assert house.kinds().count("finding.raised") == 1

    house.gpus.faults.clear()
    await house.passes(11)
    assert house.limit() == 300.0
    assert not house.path.exists()
    assert house.found() == []


async def test_a_restore_on_the_way_up_that_is_refused_is_published_and_tried_again(house: House) -> None:
    await house.passes(1, 88.0)
    house.gpus.faults[SetPowerLimit] = GpuFault(0, "nvmlDeviceSetPowerManagementLimit", 999, "UNKNOWN")
    await house.passes(120, 40.0)
    assert house.tally.refused[0, UUID] > 1
    assert "gpu.governor_refused" in house.kinds()

    house.gpus.faults.clear()
    await house.passes(400)
    assert house.limit() == 300.0
    assert not house.path.exists()
    assert house.found() == []


async def test_a_crashed_process_costs_the_restore_one_more_try_and_no_more(house: House) -> None:
    await house.passes(2, 95.0)
    faults, died = house.gpus.faults, GpuFault(None, "SetPowerLimit", None, DIED)
    apply = house.gpus.apply

    async def once(command: Command) -> GpuFault | None:
        faults[SetPowerLimit] = died
        house.gpus.apply = apply  # type: ignore[method-assign]
        fault = await apply(command)
        faults.clear()
        return fault

    house.gpus.apply = once  # type: ignore[method-assign]
    await house.governor.restore()

    assert house.limit() == 300.0
    assert not house.path.exists()


async def test_what_an_earlier_run_left_is_restored_before_anything_is_governed(house: House) -> None:
    house.leave(**{UUID: CARD})
    house.gpus.set(UUID, power_limit_set_watts=150.0)
    await house.passes(1, 95.0)

    assert house.gpus.applied == [SetPowerLimit(UUID, 280.0), ResetClocks(UUID)]
    restored = next(event for event in house.events if event.kind == "gpu.governor_restored")
    assert "an earlier run of the daemon left it changed" in restored.reason
    await house.passes()
    assert house.journal()[UUID]["power_limit_watts"] == 280.0, "the baseline that governing begins from"


async def test_it_is_restored_where_the_governor_is_off_too(house: House) -> None:
    house.leave(**{UUID: CARD})
    house.gpus.set(UUID, power_limit_set_watts=150.0)
    house.governor = house.made(GovernorSettings())
    await house.passes(3, 95.0)

    assert house.limit() == 280.0
    assert not house.path.exists()


async def test_a_gpu_that_is_not_there_stays_in_the_journal_and_its_peers_are_governed(house: House) -> None:
    house.leave(**{"GPU-9": replace(CARD, index=9)})
    await house.passes(3, 95.0)

    assert set(house.journal()) == {"GPU-9", UUID}
    (condition,) = house.found()
    assert condition.subject == "GPU-9"
    assert "the driver does not list it now" in condition.reason
    assert house.limit() == 150.0

    house.gpus.cards["GPU-9"] = reading(60.0, uuid="GPU-9", index=9, power_limit_set_watts=150.0)
    await house.passes(11)
    assert house.limit("GPU-9") == 280.0
    assert set(house.journal()) == {UUID}


async def test_a_journal_from_another_boot_is_void_and_nothing_is_set(house: House) -> None:
    house.leave("an earlier boot", **{UUID: CARD})
    await house.passes(2, 60.0)

    assert house.gpus.applied == []
    assert not house.path.exists()
    assert house.kinds() == ["gpu.governor_lease_void"]


async def test_the_journal_of_a_simulated_gpu_ended_with_its_process(house: House) -> None:
    house.leave(**{UUID: replace(CARD, simulated=True)})
    await house.passes(2, 60.0)

    assert house.gpus.applied == []
    assert not house.path.exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"version": 2}',
        '{"version": 1, "boot_id": "this boot", "pid": 1, "written_at": 1, "gpus": {"GPU-0": {}}}',
        (
            '{"version": 1, "boot_id": "this boot", "pid": 1, "written_at": 1, "gpus": {"GPU-0": '
            '{"index": 0, "name": "card", "power_limit_watts": -5, "clocks": false, "simulated": false}}}'
        ),
        "[" * 100_000,
        "\udcff\udcfe",
    ],
)
async def test_a_journal_that_makes_no_sense_stops_all_governing_and_stays(
    house: House, content: str
) -> None:
    house.path.write_bytes(content.encode(errors="surrogateescape"))
    await house.passes(25, 95.0)
    await house.governor.restore()

    assert house.gpus.applied == []
    assert house.path.read_bytes() == content.encode(errors="surrogateescape")
    (condition,) = house.found()
    assert (condition.type, condition.severity) == ("gpu_governor_lease", Severity.ERROR)
    assert "aiidpd restore-gpus --to-default" in condition.remedy


async def test_once_a_damaged_journal_was_dealt_with_it_governs(house: House) -> None:
    house.path.write_text("{")
    await house.passes(2, 95.0)
    house.path.unlink()
    await house.passes(15)

    assert house.limit() == 150.0
    assert house.found() == []


async def test_without_gpus_the_end_leaves_the_journal_for_whoever_comes_next(house: House) -> None:
    await house.passes(2, 95.0)
    house.gpus.gone = Unavailable("read", "GPUs", reason="the driver is gone", remedy="bring it back")
    await house.governor.restore()

    assert house.journal()
    (condition,) = house.found()
    assert "the driver is gone" in condition.reason
    assert "bring it back" in condition.remedy


async def test_a_second_end_does_not_touch_the_driver(house: House) -> None:
    await house.passes(2, 95.0)
    await house.governor.restore()
    count = len(house.gpus.applied)
    await house.governor.restore()

    assert len(house.gpus.applied) == count


async def test_the_back_off_request_is_renewed_while_it_is_hot_and_ends_at_the_end(house: House) -> None:
    await house.passes(400, 95.0)
    requests = [event for event in house.events if event.kind == "gpu.back_off"]
    assert len(requests) == 2
    assert requests[0].subject == UUID
    assert requests[0].evidence == {"gpu": 0, "hold_seconds": 600.0, "containers": "vllm, comfy"}
    assert requests[1].time - requests[0].time == 300
    await house.governor.restore()

    assert house.kinds().count("gpu.back_off_ended") == 1


async def test_a_limit_that_somebody_else_sets_is_in_the_journal(house: House) -> None:
    await house.passes(2, 95.0)
    house.gpus.set(UUID, power_limit_set_watts=137.0)
    await house.passes(5, 60.0)
    assert "gpu.governor_yielded" in house.kinds()
    await house.governor.restore()

    assert house.limit() == 137.0


async def test_off_and_cool_nothing_is_ever_set_or_written(house: House) -> None:
    house.governor = house.made(GovernorSettings())
    await house.passes(5, 95.0)
    house.governor = house.made(ON)
    await house.passes(5, 60.0)
    await house.governor.restore()

    assert house.gpus.applied == []
    assert house.events == []
    assert not house.path.exists()


async def test_prometheus_sees_level_limit_and_counts(house: House) -> None:
    collector = GovernorCollector(house.latest, house.tally)
    await house.passes(1, 95.0)
    seen = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in collector.collect()
        for sample in family.samples
    }
    assert seen["aiidpd_gpu_governor_mode", "on"] == 1
    assert seen["aiidpd_gpu_governor_level", "0", UUID] == 20
    assert seen["aiidpd_gpu_governor_power_limit_watts", "0", UUID] == 180
    assert seen["aiidpd_gpu_governor_moves_total", "0", UUID, "down"] == 1
    assert seen["aiidpd_gpu_governor_leased_gpus",] == 1
    await house.governor.restore()
    await house.clock.advance(60)

    names = {sample.name for family in collector.collect() for sample in family.samples}
    assert names == {"aiidpd_gpu_governor_moves_total", "aiidpd_gpu_governor_restores_total"}


def test_a_write_that_was_overtaken_does_not_bring_an_entry_back(tmp_path: Path) -> None:
    file = RestoreJournal(tmp_path / NAME)
    late = file.writing({UUID: CARD})
    file.write({})
    late()

    assert file.read().gpus == {}
    assert not file.path.exists()


def test_a_journal_reads_as_it_was_written(tmp_path: Path) -> None:
    file = RestoreJournal(tmp_path / NAME)
    gpus = {UUID: CARD, OTHER: Baseline(1, "Karte „zwei“", None)}
    file.write(gpus)

    assert file.read().gpus == gpus
    assert not file.stale(file.read())
    assert RestoreJournal(tmp_path / NAME, boot_id="another").stale(file.read())
    assert list(tmp_path.iterdir()) == [file.path]


def test_a_journal_has_how_long_a_call_may_take_and_an_old_one_reads_as_ever(tmp_path: Path) -> None:
    file = RestoreJournal(tmp_path / NAME, call_timeout=2.5)
    file.write({UUID: CARD})
    assert RestoreJournal(tmp_path / NAME).read().call_timeout == 2.5

    journal = json.loads(file.path.read_text())
    for old in ({}, {"call_timeout": "soon"}, {"call_timeout": True}, {"call_timeout": -1}):
        del journal["call_timeout"]
        journal |= old
        file.path.write_text(json.dumps(journal))
        assert file.read().gpus == {UUID: CARD}
        assert file.read().call_timeout is None
        journal.setdefault("call_timeout", None)
