"""NVML that fails, hangs, crashes and lies: the daemon's side stays bounded, says why, and comes back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from aiidpd.components.thermal.driver.client import NvmlLibrary
from aiidpd.components.thermal.driver.process import ANSWER_LIMIT, PROGRAM
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.worker import ThermalWorker
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from tests.contract.gpu_machine import UNHURRIED, children
from tests.fakes.nvml import FakeNvml, gpu
from tests.tables import made
from tests.waiting import PATIENCE, Stopwatch, until

HANGS_AFTER = 0.5  # a call_timeout for where something hangs


def open_files() -> set[tuple[str, str]]:
    """Return number and target of each open file: others may close some meanwhile."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found.add((entry.name, str(entry.readlink())))
    return found


def runs(pid: int) -> bool:
    """Whether ``pid`` still runs (a zombie does not: its parent was killed, and who reaps it is not ours)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before, files = children(), open_files()
    yield
    assert children() <= before
    assert open_files() <= files


@pytest.fixture
async def library(fake_nvml: FakeNvml) -> AsyncIterator[NvmlLibrary]:
    library = NvmlLibrary(env=fake_nvml.env, **UNHURRIED)
    yield library
    await library.aclose()


async def read_soon(library: NvmlLibrary) -> GpuSnapshot:
    """Read, again where a slow machine did not answer, or end the child before, in a library's short time."""
    waited = Stopwatch()
    while True:
        try:
            return await library.read()
        except Unavailable as error:
            slow = "did not answer" in error.reason or "can't be killed" in error.reason
            if not slow or waited.seconds > PATIENCE:
                raise


async def reason(library: NvmlLibrary) -> str:
    """Read, which must fail; return the error's text, which must name a cure."""
    with pytest.raises(Unavailable) as caught:
        await library.read()
    assert caught.value.remedy
    return str(caught.value)


LIBRARY_CALLS = ["nvmlInitWithFlags", "nvmlSystemGetDriverVersion", "nvmlDeviceGetCount_v2"]
GPU_CALLS = ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID", "nvmlDeviceGetName"]
CODES = {4: "NO_PERMISSION", 9: "DRIVER_NOT_LOADED", 18: "LIB_RM_VERSION_MISMATCH", 999: "UNKNOWN"}


@pytest.mark.parametrize(("code", "name"), CODES.items())
async def test_an_init_error_is_named_and_gone_with_its_cause(
    library: NvmlLibrary, fake_nvml: FakeNvml, code: int, name: str
) -> None:
    fake_nvml.set({"nvmlInitWithFlags": code})
    assert f"nvmlInit says {name} (NVML error {code})" in await reason(library)

    fake_nvml.install(gpu())
    assert (await library.read()).gpus[0].temperature_celsius == 61


@pytest.mark.parametrize("call", [*LIBRARY_CALLS[1:], *GPU_CALLS])
async def test_an_error_in_any_call_that_a_reading_needs_is_told(
    library: NvmlLibrary, fake_nvml: FakeNvml, call: str
) -> None:
    fake_nvml.set({call: 999})
    assert f"{call.removesuffix('_v2')} says UNKNOWN" in await reason(library)

    fake_nvml.set({call: None})
    assert (await library.read()).gpus


async def test_a_code_that_pynvml_does_not_know_is_told_as_its_number(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    fake_nvml.set({"nvmlInitWithFlags": 77})
    with pytest.raises(Unavailable, match="ERROR_77"):
        await library.read()


async def test_no_gpu_at_all_is_an_error_with_its_packaging_reason(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    fake_nvml.install()
    assert "DeviceAllow must name char-nvidia" in await reason(library)

    fake_nvml.install(gpu())
    assert (await library.read()).gpus


async def test_a_library_that_is_missing_is_found_once_it_is_installed(
    nvml_library: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / nvml_library.name).write_text("not a library, and the loader looks no further")
    fake = FakeNvml(tmp_path, folder)
    library = NvmlLibrary(env=fake.env, **UNHURRIED)
    assert "LIBRARY_NOT_FOUND" in await reason(library)

    shutil.copy(nvml_library, folder)
    assert (await library.read()).gpus
    await library.aclose()


@pytest.mark.parametrize("call", [*LIBRARY_CALLS, "0.nvmlDeviceGetTemperature", "nvmlDeviceGetName"])
async def test_a_first_call_that_hangs_is_bounded(fake_nvml: FakeNvml, call: str) -> None:
    library = NvmlLibrary(start_timeout=HANGS_AFTER, grace=UNHURRIED["grace"], env=fake_nvml.env)
    fake_nvml.set({call: "hang"})
    since = Stopwatch()
    assert "NVML did not answer within 0.5 s" in await reason(library)
    assert since.within(HANGS_AFTER + 1.5)
    assert children() == set()


async def test_a_call_that_hangs_is_bounded_and_the_next_reading_after_it_is_right(
    fake_nvml: FakeNvml,
) -> None:
    hurried = {"call_timeout": HANGS_AFTER, "start_timeout": 2.0}
    library = NvmlLibrary(env=fake_nvml.env, **(UNHURRIED | hurried))
    await read_soon(library)
    fake_nvml.set({"0.nvmlDeviceGetPowerUsage": "hang", "0.temperature": 95})
    for bound in (HANGS_AFTER, 2.0):  # the second time it is the first call of a fresh child
        since = Stopwatch()
        assert f"did not answer within {bound:g} s" in await reason(library)
        assert since.within(bound + 1.5)

    fake_nvml.set({"0.nvmlDeviceGetPowerUsage": None})
    assert (await read_soon(library)).gpus[0].temperature_celsius == 95
    await library.aclose()


@pytest.mark.parametrize("call", ["nvmlInitWithFlags", "nvmlDeviceGetCount_v2", "nvmlDeviceGetTemperature"])
async def test_a_crash_is_told_with_its_signal_and_last_words(
    library: NvmlLibrary, fake_nvml: FakeNvml, call: str
) -> None:
    fake_nvml.set({call: "crash"})
    assert f"was ended by signal 6, Aborted (the fake NVML crashes in {call})" in await reason(library)

    fake_nvml.set({call: None})
    assert (await library.read()).gpus


async def test_a_child_that_somebody_killed_is_told_once_and_replaced(library: NvmlLibrary) -> None:
    await library.read()
    (child,) = children()
    os.kill(child, signal.SIGKILL)
    assert "was ended by signal 9, Killed" in await reason(library)
    assert (await library.read()).gpus


async def test_ctrl_c_in_a_terminal_is_for_the_daemon_alone(library: NvmlLibrary) -> None:
    await library.read()
    (child,) = children()
    assert os.getsid(child) == child


async def test_a_lost_gpu_does_not_take_its_peer_along(library: NvmlLibrary, fake_nvml: FakeNvml) -> None:
    fake_nvml.install(gpu(0), gpu(1))
    await library.read()
    fake_nvml.set({"1.nvmlDeviceGetTemperature": 15})
    snapshot = await library.read()
    assert [gpu.index for gpu in snapshot.gpus] == [0]
    assert snapshot.faults == (GpuFault(1, "nvmlDeviceGetTemperature", 15, "GPU_IS_LOST"),)

    fake_nvml.set({"1.nvmlDeviceGetTemperature": None})
    snapshot = await library.read()
    assert [gpu.index for gpu in snapshot.gpus] == [0, 1]
    assert snapshot.faults == ()


async def test_with_the_only_gpu_lost_nothing_is_read(library: NvmlLibrary, fake_nvml: FakeNvml) -> None:
    await library.read()
    fake_nvml.set({"nvmlDeviceGetHandleByIndex_v2": 15})
    assert "cannot read GPU 0: nvmlDeviceGetHandleByIndex says GPU_IS_LOST" in await reason(library)

    fake_nvml.set({"nvmlDeviceGetHandleByIndex_v2": None})
    assert (await library.read()).gpus


async def test_a_child_that_goes_on_beside_a_lost_gpu_is_renewed_in_time(fake_nvml: FakeNvml) -> None:
    fake_nvml.install(gpu(0), gpu(1))
    fake_nvml.set({"1.nvmlDeviceGetHandleByIndex_v2": 15})
    library = NvmlLibrary(env=fake_nvml.env, renew_after=0.0, **UNHURRIED)
    assert (await library.read()).faults
    assert children() == set()


async def test_one_figure_that_fails_leaves_the_others(library: NvmlLibrary, fake_nvml: FakeNvml) -> None:
    fake_nvml.set({"0.nvmlDeviceGetPowerUsage": 999})
    snapshot = await library.read()
    assert snapshot.gpus[0].power_watts is None
    assert snapshot.gpus[0].temperature_celsius == 61
    assert snapshot.faults == (GpuFault(0, "nvmlDeviceGetPowerUsage", 999, "UNKNOWN"),)

    fake_nvml.set({"0.nvmlDeviceGetPowerUsage": None})
    snapshot = await library.read()
    assert snapshot.gpus[0].power_watts == 180.5
    assert snapshot.faults == ()


async def test_what_a_card_lacks_is_absent_and_asked_for_only_once(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    fake_nvml.install(gpu(fan_percent=None, shutdown_temperature=None, clock_event_bits=None))
    snapshot = await library.read()
    assert snapshot.faults == ()
    assert snapshot.gpus[0].fan_ratio is None
    assert snapshot.gpus[0].shutdown_celsius is None
    assert snapshot.gpus[0].slowdown_celsius == 92
    assert snapshot.gpus[0].clock_events is None

    fake_nvml.set({"0.nvmlDeviceGetFanSpeed": "crash"})  # a process that called again would not survive it
    assert (await library.read()).gpus[0].fan_ratio is None


async def test_another_card_in_the_same_place_is_another_card(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    fake_nvml.install(gpu(fan_percent=None))
    await library.read()
    fake_nvml.install(gpu(uuid="GPU-other", name="FAKE other", slowdown_temperature=88))
    (reading,) = (await library.read()).gpus
    assert (reading.uuid, reading.name) == ("GPU-other", "FAKE other")
    assert (reading.fan_ratio, reading.slowdown_celsius) == (0.45, 88)


async def test_what_the_library_prints_is_no_answer(library: NvmlLibrary, fake_nvml: FakeNvml) -> None:
    fake_nvml.set({"prints": '{"id": 1, "error": null}'})
    assert (await library.read()).gpus


async def test_a_reading_cancelled_in_a_hung_call_ends_at_once(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    fake_nvml.set({"nvmlDeviceGetCount_v2": "hang"})
    since = Stopwatch()
    with anyio.move_on_after(0.2):
        await library.read()
    assert since.within(0.2 + 1.0)
    assert children() == set()


# Programs in place of the NVML process, for the tests below.
Opener = Callable[..., Awaitable[Process]]


def program(source: str) -> Opener:
    async def open_process(_: object, **options: object) -> Process:
        return await anyio.open_process([sys.executable, "-u", "-c", source], **options)

    return open_process


ANSWERS = {
    "no JSON": "print('hello')",
    "no object": "print('[1]')",
    "another's answer": 'print(\'{"id": 7, "gpus": [], "driver_version": "1", "faults": []}\')',
    "wrong types": 'print(\'{"id": 1, "gpus": [{"index": "0"}], "driver_version": "1", "faults": []}\')',
    "no end": f"print('x' * {2 * ANSWER_LIMIT})",
    "never an end": "import os\nwhile True: os.write(1, b'x' * 65536)",
}


@pytest.mark.parametrize("source", ANSWERS.values(), ids=ANSWERS)
async def test_what_is_no_answer_is_refused(source: str) -> None:
    library = NvmlLibrary(
        **UNHURRIED, open_process=program(f"input()\n{source}\nimport time; time.sleep(60)")
    )
    assert "the NVML process sent" in await reason(library)
    assert children() == set()


async def test_a_child_that_babbles_on_stderr_stalls_nobody() -> None:
    source = "import sys\nfor n in range(20000): sys.stderr.write(f'line {n}\\n')\nsys.exit(3)"
    library = NvmlLibrary(**UNHURRIED, open_process=program(source))
    assert "ended with exit code 3 (line " in await reason(library)


async def test_a_program_that_can_not_be_started_is_a_reason() -> None:
    async def open_process(*_: object, **__: object) -> Process:
        return await anyio.open_process(["/nonexistent/python"])

    assert "cannot start the NVML process" in await reason(NvmlLibrary(open_process=open_process))


class Stubborn:
    """A real process that can't be killed, as one in an uninterruptible driver call, until ``released``."""

    def __init__(self, process: Process, released: anyio.Event) -> None:
        self._process = process
        self._released = released

    def __getattr__(self, name: str) -> object:
        return getattr(self._process, name)

    def kill(self) -> None:
        if self._released.is_set():
            self._process.kill()


async def test_a_child_that_can_not_be_killed_holds_nobody_up_and_gets_no_sibling(
    fake_nvml: FakeNvml,
) -> None:
    released = anyio.Event()

    async def open_process(*command: object, **options: object) -> Stubborn:
        return Stubborn(await anyio.open_process(*command, **options), released)

    library = NvmlLibrary(call_timeout=HANGS_AFTER, grace=0.1, env=fake_nvml.env, open_process=open_process)
    await library.read()
    (child,) = children()
    fake_nvml.set({"nvmlDeviceGetCount_v2": "hang"})
    since = Stopwatch()
    assert "did not answer" in await reason(library)
    for _ in range(2):
        assert f"process {child} hangs in the NVIDIA driver and can't be killed" in await reason(library)
    await library.aclose()
    assert since.within(HANGS_AFTER + 1.5)
    assert children() == {child}

    released.set()
    fake_nvml.install(gpu())
    assert (await read_soon(library)).gpus
    assert child not in children()
    waited = Stopwatch()
    while library.holding and waited.seconds < PATIENCE:
        await library.aclose()  # the kernel may take longer than the grace of this library


PARENT = """
import asyncio, os, pathlib, sys
from aiidpd.components.thermal.driver.client import NvmlLibrary

async def main():
    library = NvmlLibrary(call_timeout=60.0)
    await library.read()
    children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    print(children, flush=True)
    sys.stdin.readline()
    await library.read()

asyncio.run(main())
"""


@pytest.mark.parametrize("behaviour", ["hang", None], ids=["in a hung call", "idle"])
def test_no_child_outlives_a_daemon_that_was_killed(fake_nvml: FakeNvml, behaviour: str | None) -> None:
    fake_nvml.note_calls()
    environment = {**os.environ, **fake_nvml.env}
    command = [sys.executable, "-u", "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert runs(child)
        if behaviour:
            fake_nvml.set({"nvmlDeviceGetCount_v2": behaviour})
            begun = fake_nvml.count("nvmlDeviceGetCount_v2")
            parent.stdin.write(b"\n")
            parent.stdin.flush()
            until(lambda: fake_nvml.count("nvmlDeviceGetCount_v2") > begun)
        parent.kill()
        until(lambda: not runs(child))


def test_the_child_imports_pynvml_and_the_standard_library_alone() -> None:
    *interpreter, _, module = PROGRAM
    source = "import sys; {} print(*sys.modules)"
    loading = f"import runpy; runpy.run_module('{module}', run_name='a test');"
    loaded = subprocess.check_output([*interpreter, "-c", source.format(loading)], text=True).split()
    baseline = subprocess.check_output(
        [*interpreter, "-c", source.format("import runpy;")], text=True
    ).split()
    foreign = {
        name
        for name in set(loaded) - set(baseline)
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("_")
    }
    rooms = {"aiidpd", "aiidpd.components", "aiidpd.components.thermal", "aiidpd.components.thermal.driver"}
    rooms |= {"aiidpd.platform", "aiidpd.platform.cgroup"}  # which has the standard library alone too
    assert {name for name in foreign if not name.startswith("aiidpd.components.thermal.driver.nvml")} == {
        "pynvml",
        *rooms,
    }


async def test_the_worker_shows_no_stale_value_and_comes_back(fake_nvml: FakeNvml) -> None:
    clock = SystemClock()
    latest: Latest[GpuSnapshot] = Latest(clock, max_age=PATIENCE)
    status = WorkerStatus("thermal")
    hurried = {"call_timeout": HANGS_AFTER, "start_timeout": 3.0}
    library = NvmlLibrary(env=fake_nvml.env, **(UNHURRIED | hurried))
    settings = made(GpuSettings, interval=0.05)
    worker = ThermalWorker(
        library, settings, latest, Publisher(EventBus(), clock, "thermal"), clock, retry_interval=0.05
    )

    async def until_it_is(state: WorkerState, because: str = "") -> None:
        waited = Stopwatch()
        while status.state is not state or because not in status.reason:
            if waited.seconds > PATIENCE:
                pytest.fail(f"the worker is {status.state}, not {state}: {status.reason}")
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, Heartbeat(clock, status, anyio.Event()))
        await until_it_is(WorkerState.RUNNING)
        assert latest.get() is not None

        fake_nvml.set({"nvmlDeviceGetTemperature": "hang", "0.temperature": 95})
        await until_it_is(WorkerState.DEGRADED, "did not answer within")
        assert latest.get() is None

        fake_nvml.set({"nvmlDeviceGetTemperature": None})
        await until_it_is(WorkerState.RUNNING)
        reading = latest.get()
        assert reading is not None
        assert reading.value.gpus[0].temperature_celsius == 95
        group.cancel_scope.cancel()
    assert children() == set()
