"""Each fault of the driver, under a worker that runs: the rows of the table in docs/reliability.md.

In each the worker lives, its neighbour notices nothing, nothing is shown that was not read, and all is
right again within 3 s of the cause being gone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest

from aiidpd.components.thermal.commands import LockClocks, ResetClocks, ResetPowerLimit, SetPowerLimit
from aiidpd.components.thermal.faults import DIED, IMPLAUSIBLE, NO_ANSWER, GpuFault
from aiidpd.kernel.events import Severity
from aiidpd.kernel.task import WorkerState
from tests.contract.gpu_machine import HANGS_AFTER, RECOVERS_WITHIN, GpuHouse, children
from tests.fakes.nvml import FakeNvml, build, gpu, shape, uuid
from tests.waiting import PATIENCE, Stopwatch

CODES = {
    1: "UNINITIALIZED",
    3: "NOT_SUPPORTED",
    4: "NO_PERMISSION",
    10: "TIMEOUT",
    15: "GPU_IS_LOST",
    16: "RESET_REQUIRED",
    18: "LIB_RM_VERSION_MISMATCH",
    999: "UNKNOWN",
}
ALL_CODES = pytest.mark.parametrize(("code", "name"), CODES.items(), ids=CODES.values())
INIT, ENUMERATION = "nvmlInitWithFlags", "nvmlDeviceGetHandleByIndex_v2"
SAMPLE, FIELDS = "nvmlDeviceGetTemperature", "nvmlDeviceGetFieldValues"
SET = "nvmlDeviceSetPowerManagementLimit"
HANGING = {"call_timeout": HANGS_AFTER, "start_timeout": 3.0}


@pytest.fixture
def house(fake_nvml: FakeNvml) -> GpuHouse:
    """One GPU, at 61 °C."""
    fake_nvml.install(shape("rtx_5070_ti"))
    return GpuHouse(fake_nvml)


@ALL_CODES
async def test_a_code_at_init(fake_nvml: FakeNvml, code: int, name: str) -> None:
    fake_nvml.install(shape("rtx_5070_ti"))
    fake_nvml.set({INIT: code})
    house = GpuHouse(fake_nvml)
    async with house.running():
        await house.until_degraded(f"nvmlInit says {name} (NVML error {code})")
        assert house.page() == ""

        fake_nvml.set({INIT: None})
        await house.until_recovered(61)


@ALL_CODES
async def test_a_code_at_enumeration(house: GpuHouse, code: int, name: str) -> None:
    async with house.watching(61):
        house.fake.set({ENUMERATION: code, "0.temperature": 70})
        await house.until_degraded(f"nvmlDeviceGetHandleByIndex says {name}")
        assert house.page() == ""

        house.fake.set({ENUMERATION: None, "0.temperature": 75})
        await house.until_recovered(75)


@ALL_CODES
async def test_a_code_at_a_sample(house: GpuHouse, code: int, name: str) -> None:
    async with house.watching(61):
        house.fake.set({SAMPLE: code, "nvmlDeviceGetTemperatureV": code, "0.temperature": 70})
        if name == "NOT_SUPPORTED":  # no fault: the card has no such figure
            await house.until(lambda: house.gpus() and house.gpus()[0].temperature_celsius is None)
            assert house.status.state is WorkerState.RUNNING
            return
        await house.until_degraded(f"{SAMPLE} says {name}")
        assert all(gpu.temperature_celsius is None for gpu in house.gpus())
        assert "gpu_temperature_celsius" not in house.page()
        whole = name in {"UNINITIALIZED", "GPU_IS_LOST", "RESET_REQUIRED", "LIB_RM_VERSION_MISMATCH"}
        assert bool(house.gpus()) is not whole  # what concerns one figure leaves the others

        house.fake.set({SAMPLE: None, "nvmlDeviceGetTemperatureV": None, "0.temperature": 75})
        await house.until_recovered(75)


@ALL_CODES
async def test_a_code_at_a_batch_of_field_values(house: GpuHouse, code: int, name: str) -> None:
    async with house.watching(61):
        house.fake.set({FIELDS: code, "0.power_milliwatts": 111_000, "0.temperature": 70})
        if name == "NOT_SUPPORTED":
            # An old driver: power comes by its own call, energy does not come at all.
            await house.until(lambda: house.gpus() and house.gpus()[0].energy_joules is None)
            await house.until(lambda: house.gpus() and house.gpus()[0].power_watts == 111)
            return
        await house.until_degraded(f"{FIELDS} says {name}")
        # The call that failed first may have been another batch than theirs, later in the same reading.
        await house.until(
            lambda: all(gpu.energy_joules is None and gpu.power_instant_watts is None for gpu in house.gpus())
        )

        house.fake.set({FIELDS: None, "0.temperature": 75})
        await house.until_recovered(75)
        assert house.gpus()[0].power_watts == 250.5


@ALL_CODES
async def test_a_code_at_a_setter(house: GpuHouse, code: int, name: str) -> None:
    async with house.watching(61):
        house.fake.set({SET: code})
        assert await house.library.apply(SetPowerLimit(uuid(0), 260.0)) == GpuFault(None, SET, code, name)
        assert house.fake.was_set("0.power_limit_milliwatts") is None

        house.fake.set({SET: None, "0.temperature": 75})
        assert await house.library.apply(SetPowerLimit(uuid(0), 260.0)) is None
        await house.until_recovered(75)
        await house.until(lambda: house.gpus() and house.gpus()[0].power_limit_watts == 260.0)


@pytest.mark.parametrize("call", [INIT, ENUMERATION, SAMPLE, FIELDS, "nvmlDeviceGetMemoryInfo"])
@pytest.mark.parametrize(("how", "said"), [("hang", "did not answer within"), ("crash", "signal 6")])
async def test_a_call_that_hangs_or_crashes(fake_nvml: FakeNvml, call: str, how: str, said: str) -> None:
    fake_nvml.install(shape("rtx_5070_ti"))
    house = GpuHouse(fake_nvml, **(HANGING if how == "hang" else {}))
    async with house.running():
        if call == INIT:
            fake_nvml.set({call: how, "0.temperature": 70})
        else:
            await house.until_right(61)
            fake_nvml.set({call: how, "0.temperature": 70})
        await house.until_degraded(said)
        assert house.page() == ""
        assert len(children()) <= 1

        fake_nvml.set({call: None, "0.temperature": 75})
        await house.until_recovered(75)


@pytest.mark.parametrize(("how", "name"), [("hang", NO_ANSWER), ("crash", DIED)])
async def test_a_setter_that_hangs_or_crashes(fake_nvml: FakeNvml, how: str, name: str) -> None:
    fake_nvml.install(shape("rtx_5070_ti"))
    house = GpuHouse(fake_nvml, **(HANGING if how == "hang" else {}))
    async with house.watching(61):
        house.fake.set({SET: how})
        fault = await house.library.apply(SetPowerLimit(uuid(0), 260.0))
        assert fault == GpuFault(None, "SetPowerLimit", None, name)
        assert fault.remedy

        house.fake.set({SET: None, "0.temperature": 75})
        await house.until_recovered(75)
        assert await house.library.apply(SetPowerLimit(uuid(0), 260.0)) is None


async def test_what_a_setter_refuses_changes_nothing(house: GpuHouse) -> None:
    async with house.watching(61):
        below = await house.library.apply(SetPowerLimit(uuid(0), 249.0))
        assert below == GpuFault(None, SET, 2, "INVALID_ARGUMENT")
        other = await house.library.apply(ResetClocks("GPU-of-another-machine"))
        assert other == GpuFault(None, "nvmlDeviceGetHandleByUUID", 6, "NOT_FOUND")
        assert house.fake.was_set("0.power_limit_milliwatts") is None
        assert house.status.state is WorkerState.RUNNING


async def test_every_setter_does_what_it_says(house: GpuHouse) -> None:
    async with house.watching(61):
        for command in (SetPowerLimit(uuid(0), 255.5), LockClocks(uuid(0), 2.1e8, 1.8e9)):
            assert await house.library.apply(command) is None
        assert house.fake.was_set("0.power_limit_milliwatts") == "255500"
        assert house.fake.was_set("0.locked_clocks_megahertz") == "210 1800"
        await house.until(lambda: house.gpus() and house.gpus()[0].power_limit_watts == 255.5)

        for command in (ResetPowerLimit(uuid(0)), ResetClocks(uuid(0))):
            assert await house.library.apply(command) is None
        assert house.fake.was_set("0.power_limit_milliwatts") == "300000"
        assert house.fake.was_set("0.locked_clocks_megahertz") == ""


async def test_the_count_goes_from_two_to_one_and_back(fake_nvml: FakeNvml) -> None:
    fake_nvml.install(gpu(0), gpu(1))
    house = GpuHouse(fake_nvml)
    async with house.running():
        await house.until_right(61, uuid(0), uuid(1))
        fake_nvml.install(gpu(0, temperature=70))
        await house.until_right(70, uuid(0))
        assert uuid(1) not in house.page()

        fake_nvml.install(gpu(0, temperature=75), gpu(1))
        await house.until_recovered(75, uuid(0), uuid(1))
    kinds = [event.kind for event in house.events if event.subject == uuid(1)]
    assert kinds == ["gpu.appeared", "gpu.disappeared", "gpu.appeared"]


async def test_the_count_goes_to_zero_and_back(house: GpuHouse) -> None:
    async with house.watching(61):
        house.fake.set({"count": 0})
        await house.until_degraded("NO_GPUS")
        assert house.page() == ""

        house.fake.set({"count": 1, "0.temperature": 75})
        await house.until_recovered(75, uuid(0))


async def test_two_gpus_swap_their_places(fake_nvml: FakeNvml) -> None:
    one, other = {"uuid": "GPU-one", "name": "one"}, {"uuid": "GPU-other", "name": "other"}
    fake_nvml.install(
        gpu(0, temperature=50, fan_percent=None, **one),
        gpu(1, temperature=60, slowdown_temperature=88, **other),
    )
    house = GpuHouse(fake_nvml)
    async with house.running():
        await house.until_right(50, "GPU-one", "GPU-other")
        fake_nvml.install(
            gpu(0, temperature=65, slowdown_temperature=88, **other),
            gpu(1, temperature=55, fan_percent=None, **one),
        )
        await house.until_right(65, "GPU-other", "GPU-one")
        first, second = house.gpus()
        assert (first.index, first.name, first.slowdown_celsius, first.fan_ratio) == (0, "other", 88, 0.45)
        assert (second.index, second.name, second.slowdown_celsius, second.fan_ratio) == (1, "one", 92, None)


LIES = {
    "zero": ({"0.temperature": 0}, "temperature_celsius of 0"),
    "negative": ({"0.temperature": 2**32 - 5}, "temperature_celsius of -5"),
    "2^32 - 1": ({"0.temperature": 2**32 - 1}, "temperature_celsius of -1"),
    "beyond": ({"0.temperature": 255}, "temperature_celsius of 255"),
    "power 2^32 - 1": ({"0.field.185": 2**32 - 1}, "power_watts of 4294967.295"),
    "memory 2^64 - 1": ({"0.memory_used": 2**64 - 1}, "memory_used_bytes of 1.844674407e+19"),
}


@pytest.mark.parametrize(("lines", "said"), LIES.values(), ids=LIES)
async def test_a_value_that_can_not_be_true_is_left_out(
    house: GpuHouse, lines: dict[str, object], said: str
) -> None:
    async with house.watching(61):
        house.fake.set(lines)
        await house.until_degraded(f"{said} can't be true")
        figure = said.partition(" ")[0]
        assert getattr(house.gpus()[0], figure) is None
        assert f"aiidpd_gpu_{figure}{{" not in house.page()
        assert house.latest.get().value.faults[0].name == IMPLAUSIBLE
        assert house.gpus()[0].sm_clock_hertz == 2.602e9  # the others are shown

        house.fake.install(shape("rtx_5070_ti", temperature=75))
        await house.until_recovered(75)


async def test_memory_without_a_sensor_is_absent_and_no_fault(fake_nvml: FakeNvml) -> None:
    fake_nvml.install(shape("rtx_5070_ti", field__82=0))
    house = GpuHouse(fake_nvml)
    async with house.running():
        await house.until_right(61)
        assert house.gpus()[0].memory_temperature_celsius is None


@pytest.mark.parametrize(("code", "name"), [(4, "NO_PERMISSION"), (10, "TIMEOUT"), (999, "UNKNOWN")])
async def test_a_field_value_that_fails_leaves_the_rest_of_its_batch(
    house: GpuHouse, code: int, name: str
) -> None:
    async with house.watching(61):
        house.fake.set({"0.field.186": f"error:{code}"})
        await house.until_degraded(f"{FIELDS}[186] says {name}")
        assert house.gpus()[0].power_instant_watts is None
        assert house.gpus()[0].power_watts == 250.5

        house.fake.set({"0.field.186": 199_000})
        await house.until(lambda: house.gpus() and house.gpus()[0].power_instant_watts == 199)


@pytest.mark.parametrize("code", [2, 3], ids=["INVALID_ARGUMENT", "NOT_SUPPORTED"])
async def test_a_field_value_that_a_driver_does_not_know_is_asked_for_once(
    fake_nvml: FakeNvml, code: int
) -> None:
    fake_nvml.install(shape("rtx_5070_ti", field__186=f"error:{code}"))
    house = GpuHouse(fake_nvml)
    async with house.running():
        await house.until_right(61)
        fake_nvml.set({"0.field.186": "error:15", "0.temperature": 75})  # lost, were it called again
        await house.until_recovered(75)
        assert house.gpus()[0].power_instant_watts is None


async def test_no_data_yet_is_no_fault(house: GpuHouse) -> None:
    async with house.watching(61):
        house.fake.set({"0.field.83": "error:21", "0.temperature": 75})
        await house.until_recovered(75)
        assert house.gpus()[0].energy_joules is None


async def test_a_gpu_that_is_lost_says_why_by_its_xid(house: GpuHouse) -> None:
    async with house.watching(61):
        house.fake.set({"xid.1": "0 79", ENUMERATION: 15})
        await house.until_degraded()
        await house.until(lambda: any(event.kind == "gpu.xid" for event in house.events))
        (event,) = [event for event in house.events if event.kind == "gpu.xid"]
        assert (event.subject, event.severity) == (uuid(0), Severity.ERROR)
        assert event.reason == "Xid 79: the GPU has fallen off the bus: it no longer answers"
        assert event.evidence == {"xid": 79, "class": "hardware"}
        assert house.page().count('aiidpd_gpu_xid_events_total{class="hardware"') == 1


async def test_xids_are_counted_once_each_and_not_again_by_a_fresh_child(house: GpuHouse) -> None:
    def xids() -> list[tuple[int, int]]:
        return [(xid.code, xid.count) for gpu in house.gpus() for xid in gpu.xids or ()]

    async with house.watching(61):
        house.fake.set({"xid.1": "0 31", "xid.2": "0 31", "xid.3": "0 13"})
        await house.until(lambda: xids() == [(13, 1), (31, 2)])

        house.fake.set({SAMPLE: "crash"})
        await house.until_degraded()
        house.fake.set({SAMPLE: None, "0.temperature": 75})
        await house.until_recovered(75)
        assert xids() == [(13, 1), (31, 2)]
        assert len([event for event in house.events if event.kind == "gpu.xid"]) == 3


@pytest.mark.parametrize("call", ["nvmlEventSetCreate", "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2"])
async def test_events_that_fail_leave_the_readings(fake_nvml: FakeNvml, call: str) -> None:
    fake_nvml.install(shape("rtx_5070_ti"))
    fake_nvml.set({call: 999})
    house = GpuHouse(fake_nvml)
    async with house.running():
        await house.until_degraded(f"{call} says UNKNOWN")
        assert house.gpus()[0].temperature_celsius == 61

        fake_nvml.set({call: None, "0.temperature": 75})
        await house.until_recovered(75)


async def test_a_card_without_events_says_so_by_saying_nothing(fake_nvml: FakeNvml) -> None:
    fake_nvml.install(shape("rtx_5070_ti", events=None))
    house = GpuHouse(fake_nvml)
    async with house.running():
        await house.until_right(61)
        assert house.gpus()[0].xids is None


@pytest.fixture
def own_library(nvml_library: Path, tmp_path: Path) -> FakeNvml:
    """A fake NVML in a folder of its own, to be replaced."""
    folder = tmp_path / "lib"
    folder.mkdir()
    shutil.copy(nvml_library, folder)
    fake = FakeNvml(tmp_path, folder)
    fake.install(shape("rtx_5070_ti"))
    return fake


async def test_the_driver_is_upgraded_while_it_is_watched(own_library: FakeNvml, tmp_path: Path) -> None:
    fake = own_library
    new = tmp_path / "new"
    new.mkdir()
    upgraded = build(new, number=2)
    assert upgraded is not None
    house = GpuHouse(fake)
    async with house.running():
        await house.until_right(61)
        (child,) = children()
        upgraded.replace(tmp_path / "lib" / "libnvidia-ml.so.1")
        fake.set({"0.temperature": 70})
        await house.until_right(70)
        assert children() == {child}  # the loaded library fits the loaded module: all goes on

        fake.set({"kernel": 2, "driver_version": "590.10", "0.temperature": 75})
        await house.until_recovered(75)
        assert house.latest.get().value.driver_version == "590.10"
        assert child not in children()


async def test_the_library_does_not_fit_the_module_until_it_is_loaded_anew(house: GpuHouse) -> None:
    async with house.watching(61):
        house.fake.set({"kernel": 2})
        await house.until_degraded("LIB_RM_VERSION_MISMATCH (NVML error 18)")
        assert "reload the nvidia modules or reboot" in house.status.reason
        assert house.page() == ""

        house.fake.set({"kernel": 1, "0.temperature": 75})
        await house.until_recovered(75)


async def test_another_driver_version_gets_a_fresh_child(house: GpuHouse) -> None:
    async with house.watching(61):
        (child,) = children()
        house.fake.set({"driver_version": "590.10", "0.temperature": 75})
        await house.until(lambda: house.gpus() and house.latest.get().value.driver_version == "590.10")
        await house.until_recovered(75)
        assert child not in children()


async def test_the_library_vanishes(own_library: FakeNvml, tmp_path: Path) -> None:
    fake, library = own_library, tmp_path / "lib" / "libnvidia-ml.so.1"
    house = GpuHouse(fake)
    async with house.running():
        await house.until_right(61)
        kept = library.rename(tmp_path / "kept")
        library.write_text("no library, and the loader looks no further")
        fake.set({"0.temperature": 70})
        await house.until_right(70)  # it is loaded: a file that goes does not matter yet
        fake.set({SAMPLE: "crash"})
        await house.until_degraded("signal 6")
        fake.set({SAMPLE: None})
        await house.until(lambda: "LIBRARY_NOT_FOUND" in house.status.reason)
        assert house.page() == ""

        kept.replace(library)
        fake.set({"0.temperature": 75})
        await house.until_recovered(75)


async def test_a_gpu_is_divided_and_made_whole_again(fake_nvml: FakeNvml) -> None:
    fake_nvml.install(shape("h200"))
    house = GpuHouse(fake_nvml)
    async with house.running():
        await house.until_right(48)
        assert house.gpus()[0].mig_enabled is False
        fake_nvml.install(shape("h200_mig"))
        await house.until(lambda: house.gpus() and house.gpus()[0].mig_enabled)
        await house.until(lambda: house.gpus() and house.gpus()[0].utilisation_ratio is None)
        assert [part.gpu_instance for part in house.gpus()[0].mig_instances] == [1, 2]
        assert house.page().count("aiidpd_gpu_mig_memory_used_bytes{") == 2

        fake_nvml.install(shape("h200"))
        await house.until(
            lambda: any(gpu.utilisation_ratio == 0.93 and gpu.mig_instances == () for gpu in house.gpus())
        )


async def hanging(house: GpuHouse) -> None:
    """Have a sample hang, and wait until it does."""
    house.fake.set({SAMPLE: "hang"})
    begun = house.fake.count(SAMPLE)  # one of these may have looked at the state before: the next hangs
    await house.until(lambda: house.fake.count(SAMPLE) > begun)


@pytest.fixture
def noted(fake_nvml: FakeNvml) -> GpuHouse:
    """One GPU, at 61 °C, whose calls are noted and may hang."""
    fake_nvml.install(shape("rtx_5070_ti"))
    fake_nvml.note_calls()
    return GpuHouse(fake_nvml, **HANGING)


async def test_a_hang_is_told_in_time_and_no_stale_value_is_served(noted: GpuHouse) -> None:
    async with noted.watching(61):
        noted.fake.set({SAMPLE: "hang", "0.temperature": 95})
        since = Stopwatch()
        await noted.until_degraded("did not answer within")
        assert since.within(HANGS_AFTER + 1.0)
        watched = Stopwatch()
        while watched.seconds < 1.0:
            assert noted.page() == ""
            await anyio.sleep(0.05)


async def test_the_worker_ends_in_time_while_a_call_hangs(noted: GpuHouse) -> None:
    async with noted.watching(61):
        await hanging(noted)
        since = Stopwatch()
    assert since.within(RECOVERS_WITHIN)
    assert children() == set()


async def test_a_release_frees_the_driver_and_a_resume_takes_it_back(house: GpuHouse) -> None:
    async with house.watching(61):
        assert len(children()) == 1
        house.maintenance.release()
        assert await house.maintenance.wait_free(PATIENCE)
        assert children() == set()
        assert house.page() == ""
        await house.until_degraded("released")
        await anyio.sleep(0.3)
        assert children() == set()  # and nothing starts another

        house.maintenance.resume()
        house.fake.set({"0.temperature": 75})
        await house.until_recovered(75)
        kinds = [event.kind for event in house.events if event.subject == uuid(0)]
        assert kinds == ["gpu.appeared"]  # it was never thought lost


async def test_a_release_comes_through_a_call_that_hangs(noted: GpuHouse) -> None:
    async with noted.watching(61):
        await hanging(noted)
        noted.maintenance.release()
        assert await noted.maintenance.wait_free(PATIENCE)
        assert children() == set()

        noted.fake.set({SAMPLE: None, "0.temperature": 75})
        noted.maintenance.release(0.5)
        await noted.until_recovered(75)  # half a second later, by itself
