"""The command as a process, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import pkgutil
import pty
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import aiidpd.cli
from aiidpd import __version__
from aiidpd.api.access import AccessPolicy
from aiidpd.cli.main import COMMANDS, SOCKET_VARIABLE
from aiidpd.components.backup.view import BackupView, SnapshotInfo
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.errors import Misconfigured
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.task import WorkerState
from tests.fakes.control import ControlDaemon, control_daemon, until
from tests.unprivileged import NOBODY, python_as_nobody
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[ControlDaemon]:
    async with control_daemon(tmp_path, heartbeat=0.1) as daemon:
        yield daemon


@dataclass
class Outcome:
    code: int
    out: str
    err: str


def command(*arguments: str) -> list[str]:
    return [os.path.realpath(sys.executable), "-W", "error", "-m", "aiidpd.cli.main", *arguments]


def environment(daemon: ControlDaemon, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), SOCKET_VARIABLE: str(daemon.path), **more}


async def ctl(
    daemon: ControlDaemon,
    *arguments: str,
    shown: bytearray | None = None,
    environ: dict[str, str] | None = None,
    program: Sequence[str] | None = None,
    **options: Any,
) -> Outcome:
    """Run ``aiidpctl``, or ``program`` in its place, to its end.

    ``shown`` is where what it says grows meanwhile.
    """
    process = await asyncio.create_subprocess_exec(
        *(program or command()),
        *arguments,
        env=environment(daemon) | (environ or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        **options,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = bytearray() if shown is None else shown

    async def listen(stream: asyncio.StreamReader) -> None:
        while piece := await stream.read(65536):
            said.extend(piece)

    async with asyncio.timeout(PATIENCE):
        out, _ = await asyncio.gather(process.stdout.read(), listen(process.stderr))
        code = await process.wait()
    return Outcome(code, out.decode(), said.decode())


@asynccontextmanager
async def running(daemon: ControlDaemon, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``aiidpctl`` while the block lasts."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        env=environment(daemon),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def read_line(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    async with asyncio.timeout(PATIENCE):
        return (await stream.readline()).decode()


async def work(daemon: ControlDaemon, queue: str, shown: bytearray, *, fail: str = "") -> None:
    """Do the next job of ``queue``, in three steps that each last until ``shown`` tells of it."""
    job = await daemon.queues[queue].next()
    with job.running():
        for step in range(3):
            text = f"step {step}"
            job.progress(text, step, 3, "steps")
            await until(lambda text=text: text.encode() in shown)
        if fail:
            job.fail(fail, **{"local.error": "refused"})
        else:
            job.succeed(files=3, summary="3 files were copied")


async def test_status_shows_everything_and_exits_by_health(daemon: ControlDaemon) -> None:
    outcome = await ctl(daemon, "status")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("aiidpd 1.2.3  healthy")
    assert "\x1b" not in outcome.out

    daemon.workers["thermal"].simulated = True
    assert "SIMULATED: thermal" in (await ctl(daemon, "status")).out

    daemon.workers["bench"].state = WorkerState.RESTARTING
    assert (await ctl(daemon, "status")).code == 1
    daemon.workers["bench"].state = WorkerState.RUNNING
    daemon.conditions.set(Condition("disk", "/", Severity.WARNING, "nearly full"))
    assert (await ctl(daemon, "status")).code == 0
    daemon.conditions.set(Condition("disk", "/", Severity.ERROR, "full"))
    outcome = await ctl(daemon, "status")
    assert outcome.code == 1
    assert "error    disk /: full" in outcome.out


@pytest.mark.parametrize("arguments", [["--json", "status"], ["status", "--json"]])
async def test_json_is_the_document_of_the_api(daemon: ControlDaemon, arguments: list[str]) -> None:
    outcome = await ctl(daemon, *arguments)
    assert json.loads(outcome.out)["workers"][0]["name"] == "thermal"
    assert outcome.out.count("\n") == 1


async def test_readings(daemon: ControlDaemon) -> None:
    outcome = await ctl(daemon, "gpu")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no reading yet" in outcome.err
    daemon.views["gpus"].put(GpuSnapshot((GpuReading(0, "GPU-1", "L4", 61.0),), "550", simulated=True))
    outcome = await ctl(daemon, "gpu")
    assert outcome.code == 0
    assert "61 °C" in outcome.out
    assert outcome.err == "SIMULATED: these GPUs are made up\n"
    assert (await ctl(daemon, "containers")).code == 1
    daemon.views["backup"].put(
        BackupView(configured=True, target="/b", snapshots=(SnapshotInfo("s1", files=2),))
    )
    assert (await ctl(daemon, "backup", "list")).out.split("\n")[1].startswith("s1 ")
    daemon.views["bench"].put(BenchView((EndpointView("local", "http://x", "m", True),)))
    assert "SIMULATED" in (await ctl(daemon, "bench", "list")).out


async def test_one_container_and_a_name_that_is_none(daemon: ControlDaemon) -> None:
    assert (await ctl(daemon, "containers", "show", "vllm")).code == 1
    reading = ContainerReading("abc", "vllm", "image", "running", "healthy", started_at=5.0)
    daemon.views["containers"].put(RuntimeSnapshot((reading,), "20.10"))
    daemon.bus.publish(Event(1.0, "containers", "container.started", "it started", "vllm"))
    outcome = await ctl(daemon, "containers", "show", "/vllm")
    assert outcome.code == 0
    assert "vllm  running for" in outcome.out
    assert "container.started vllm: it started" in outcome.out
    document = json.loads((await ctl(daemon, "--json", "containers", "show", "vllm")).out)
    assert document["container"]["name"] == "vllm"
    outcome = await ctl(daemon, "containers", "show", "vlm")
    assert outcome.code == 1
    assert "did you mean vllm?" in outcome.err


async def test_where_no_event_is_wanted_it_says_so(daemon: ControlDaemon) -> None:
    assert await ctl(daemon, "events", "--kind", "nothing.") == Outcome(0, "", "there are no such events\n")


async def test_snapshots_of_a_target_that_was_not_read_are_not_denied(daemon: ControlDaemon) -> None:
    lacking = BackupView(configured=True, reason="/b is no folder", source="/m", target="/b")
    daemon.views["backup"].put(lacking)
    assert await ctl(daemon, "backup", "list") == Outcome(0, "", "/b is no folder\n")
    daemon.views["backup"].put(replace(lacking, reason=""))
    assert await ctl(daemon, "backup", "list") == Outcome(0, "", "there are no snapshots in /b\n")


async def test_events_are_shown_filtered_and_followed(daemon: ControlDaemon) -> None:
    daemon.say("a.one", "first")
    daemon.say("b.two", "second", severity=Severity.ERROR, simulated=True)
    outcome = await ctl(daemon, "events", "--since", "1h30min", "--kind", "b.", "--severity", "warning")
    assert outcome.code == 0
    assert outcome.out.endswith("error    b.two: second  SIMULATED\n")
    assert outcome.out.count("\n") == 1
    assert [each["kind"] for each in json.loads((await ctl(daemon, "events", "--json")).out)["events"]] == [
        "a.one",
        "b.two",
    ]
    async with running(daemon, "events", "--follow", "--limit", "1", "--json") as process:
        assert json.loads(await read_line(process.stdout))["kind"] == "b.two"
        daemon.say("c.three")
        assert json.loads(await read_line(process.stdout))["kind"] == "c.three"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    await until(lambda: daemon.bus.subscribers == 0)


async def test_work_is_waited_for_and_its_outcome_is_the_exit_code(daemon: ControlDaemon) -> None:
    shown = bytearray()
    done, _ = await asyncio.gather(ctl(daemon, "backup", "run", shown=shown), work(daemon, "backup", shown))
    assert done.code == 0
    assert done.out == "3 files were copied\n"
    assert "backup-1: step 1  1 of 3 steps, 33 %\n" in done.err
    assert done.err.endswith("backup-1 succeeded\n")
    shown = bytearray()
    failed, _ = await asyncio.gather(
        ctl(daemon, "bench", "run", shown=shown), work(daemon, "bench", shown, fail="it was refused")
    )
    assert failed.code == 1
    assert failed.out == "local.error  refused\n"
    assert failed.err.endswith("bench-2 failed: it was refused\n")


async def test_no_wait_returns_at_once_and_jobs_follows_later(daemon: ControlDaemon) -> None:
    outcome = await ctl(daemon, "backup", "run", "--no-wait")
    assert (outcome.code, outcome.out) == (0, "backup-1\n")
    assert "backup-1  queued" in (await ctl(daemon, "jobs")).out
    shown = bytearray()
    followed, _ = await asyncio.gather(
        ctl(daemon, "jobs", "follow", "backup-1", "--json", shown=shown), work(daemon, "backup", shown)
    )
    assert followed.code == 0
    assert json.loads(followed.out)["result"]["files"] == 3
    assert (await ctl(daemon, "jobs", "follow", "none")).code == 1


async def test_an_interrupt_leaves_the_work_running(daemon: ControlDaemon) -> None:
    async with running(daemon, "backup", "run") as process:
        shown = bytearray()
        working = asyncio.create_task(work(daemon, "backup", shown))
        assert "backup-1" in await read_line(process.stderr)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert process.returncode == 130
        assert b"the work continues in the daemon; to see it: aiidpctl jobs follow backup-1" in err
        assert b"Traceback" not in err
    shown += b"step 0, step 1, step 2"  # nobody looks any more, and the work goes on
    await working
    assert daemon.jobs.get("backup-1").status.state == "succeeded"


async def test_a_daemon_that_stops_during_the_work_is_no_success(tmp_path: Path) -> None:
    async with control_daemon(tmp_path, heartbeat=0.1) as daemon:
        process = await asyncio.create_subprocess_exec(
            *command("backup", "run"), env=environment(daemon), stderr=asyncio.subprocess.PIPE
        )
        assert "backup-1: queued" in await read_line(process.stderr)
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"the daemon ended the stream before backup-1 ended" in err


async def test_one_endpoint_can_be_named(daemon: ControlDaemon) -> None:
    await ctl(daemon, "bench", "run", "--endpoint", "local", "--no-wait")
    assert (await daemon.queues["bench"].next()).arguments["endpoint"] == "local"


async def test_configuration(daemon: ControlDaemon) -> None:
    assert (await ctl(daemon, "config", "show")).out == 'daemon.log_level = "info"\ngpu.interval = "2s"\n'
    shown = (await ctl(daemon, "config", "show", "--origin")).out
    assert shown.split("\n")[2].split() == ["gpu.interval", '"2s"', "a.toml:3"]
    assert (await ctl(daemon, "reload")).err == "nothing had changed\n"
    daemon.reloads.answer = ["gpu.interval"]
    assert (await ctl(daemon, "reload")).out == "gpu.interval\n"
    daemon.reloads.answer = Misconfigured("use", "a.toml", reason="line 3 is wrong", remedy="mend it")
    outcome = await ctl(daemon, "reload")
    assert outcome.code == 1
    assert outcome.err == "aiidpctl: cannot use a.toml: line 3 is wrong; mend it\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["status", "--bad"],
        ["backup", "nothing"],
        ["events", "--since", "yesterday"],
        ["events", "--limit", "0"],
        ["events", "--limit", "1001"],
        ["events", "--severity", "grave"],
    ],
)
async def test_wrong_usage_is_2(daemon: ControlDaemon, arguments: list[str]) -> None:
    outcome = await ctl(daemon, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("usage: aiidpctl")


async def test_no_daemon_is_3(daemon: ControlDaemon) -> None:
    outcome = await ctl(daemon, "--socket", "/nonexistent/control.sock", "status")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err == (
        "aiidpctl: cannot reach the daemon at /nonexistent/control.sock: there is no such socket; "
        "is aiidpd running?\n"
    )


def as_nobody(*groups: int) -> list[str]:
    """Return ``aiidpctl`` for a user without rights who is in ``groups``."""
    modules = [f"aiidpd.cli.{found.name}" for found in pkgutil.iter_modules(aiidpd.cli.__path__)]
    modules += [add.partition(":")[0] for add, _ in COMMANDS.values()]
    run = "sys.exit(importlib.import_module('aiidpd.cli.main').main())"
    return python_as_nobody(run, modules=[*modules, "shutil"], groups=groups)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
async def test_a_stranger_is_denied_with_4_and_it_is_on_record(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)  # noqa: ASYNC240 -- a test's own folder
    async with control_daemon(tmp_path, mode=0o666, policy=AccessPolicy(owner=0, readers=NOBODY)) as daemon:
        # The folders above it may be closed to that user.
        environ = {SOCKET_VARIABLE: daemon.path.name}
        stranger: dict[str, Any] = {"program": as_nobody(), "environ": environ, "cwd": tmp_path}
        assert (await ctl(daemon, "status", **stranger)).code == 0
        outcome = await ctl(daemon, "backup", "run", **stranger)
        assert (outcome.code, outcome.out) == (4, "")
        assert outcome.err.startswith(
            "aiidpctl: cannot change /v1/backup/runs: user 65534 may only read; ask as root"
        )
        (event,) = await daemon.events("control.denied")
        assert event.evidence["uid"] == NOBODY
        assert event.severity is Severity.WARNING
        assert event.subject == "POST /v1/backup/runs"
        assert daemon.jobs.all() == ()

        daemon.api.policy = AccessPolicy(owner=0, readers=0, admins=frozenset({NOBODY}))
        assert (await ctl(daemon, "backup", "run", "--no-wait", **stranger)).code == 0
        daemon.api.policy = AccessPolicy(owner=0, readers=0)
        assert (await ctl(daemon, "status", **stranger)).code == 4
        stranger["program"] = as_nobody(4321)
        daemon.api.policy = AccessPolicy(owner=0, readers=4321)
        assert (await ctl(daemon, "status", **stranger)).code == 0
        daemon.path.chmod(0o600)
        outcome = await ctl(daemon, "status", **stranger)
        assert outcome.code == 4
        assert "this user may not use the socket" in outcome.err


async def test_a_reader_that_has_enough_is_no_trouble(daemon: ControlDaemon) -> None:
    for _ in range(500):
        daemon.say(reason="x" * 200)
    shell = f"{' '.join(command('events', '--limit', '500'))} | head -n 1"
    process = await asyncio.create_subprocess_shell(
        shell, env=environment(daemon), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert out.count(b"\n") == 1
    assert err == b""


async def test_a_terminal_gets_colours_and_a_line_that_is_drawn_again(daemon: ControlDaemon) -> None:
    assert "\x1b[" in await on_terminal(daemon, "status")
    assert "\x1b[" not in await on_terminal(daemon, "status", NO_COLOR="1")
    assert "\x1b[" not in await on_terminal(daemon, "status", TERM="dumb")
    shown = bytearray()
    text, _ = await asyncio.gather(
        on_terminal(daemon, "backup", "run", shown=shown), work(daemon, "backup", shown)
    )
    assert "\r\x1b[Kbackup-1: step 1  1 of 3 steps, 33 %" in text
    assert text.endswith("backup-1 succeeded\r\n")
    shown = bytearray()
    text, _ = await asyncio.gather(
        on_terminal(daemon, "backup", "run", shown=shown, TERM="dumb"), work(daemon, "backup", shown)
    )
    assert "\x1b" not in text
    assert "backup-2: step 1  1 of 3 steps, 33 %\r\n" in text


async def test_tables_fit_the_terminal(daemon: ControlDaemon) -> None:
    gpus = tuple(GpuReading(number, f"GPU-{number}", "a name that is long " * 9, 61.0) for number in range(3))
    daemon.views["gpus"].put(GpuSnapshot(gpus, "550", simulated=False))
    for more, columns in (({}, 80), ({"COLUMNS": "60"}, 60)):
        shown = (await on_terminal(daemon, "gpu", "list", NO_COLOR="1", **more)).split("\r\n")
        assert len(shown) == 5
        assert max(map(len, shown)) <= columns
    assert "a name that is long " * 9 in (await ctl(daemon, "gpu", "list")).out


@pytest.mark.parametrize("arguments", [["gpu"], ["containers"], ["jobs"], ["incidents"]])
async def test_a_noun_alone_is_its_list(daemon: ControlDaemon, arguments: list[str]) -> None:
    daemon.queues["backup"].submit()
    daemon.views["gpus"].put(GpuSnapshot((GpuReading(0, "GPU-1", "L4", 61.0),), "550", simulated=False))
    listed = await ctl(daemon, *arguments, "list")
    assert await ctl(daemon, *arguments) == listed
    assert (await ctl(daemon, *arguments, "list", "--json")).out.startswith("{")


async def test_the_last_incident_where_there_is_none(daemon: ControlDaemon) -> None:
    outcome = await ctl(daemon, "incidents", "show", "last")
    assert outcome == Outcome(1, "", "there are no incidents\n")


async def test_config_alone_shows_all_settings(daemon: ControlDaemon) -> None:
    assert await ctl(daemon, "config") == await ctl(daemon, "config", "show")


async def in_shell(daemon: ControlDaemon, line: str) -> Outcome:
    process = await asyncio.create_subprocess_shell(
        line, env=environment(daemon), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return Outcome(process.returncode or 0, out.decode(), err.decode())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["gpu", "--help"], ["config", "show"]])
async def test_help_goes_to_a_full_disk_or_a_closed_pipe_like_any_text(
    daemon: ControlDaemon, arguments: list[str]
) -> None:
    line = " ".join(command(*arguments))
    full = await in_shell(daemon, f"PYTHONUNBUFFERED=1 {line} >/dev/full")
    assert full == Outcome(1, "", "aiidpctl: cannot write what was found: No space left on device\n")
    assert await in_shell(daemon, f"{line} >/dev/full") == full
    gone = await in_shell(daemon, f"{{ sleep 0.1; {line}; echo $? >&2; }} | true")
    assert gone.err == "141\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
async def test_streams_that_were_closed_take_nothing_and_change_no_exit_code(
    daemon: ControlDaemon, closed: str
) -> None:
    line = " ".join(command("config", "show"))
    assert (await in_shell(daemon, f"{line} {closed}")).code == 0
    away = " ".join(command("--socket", "/nonexistent/control.sock", "status"))
    assert (await in_shell(daemon, f"{away} {closed}")).code == 3


async def test_what_is_wrong_is_in_the_exit_code_also_where_no_word_of_it_can_be_written(
    daemon: ControlDaemon,
) -> None:
    away = " ".join(command("--socket", "/nonexistent/control.sock", "status"))
    assert (await in_shell(daemon, f"{away} 2>/dev/full")).code == 3


async def test_the_version(daemon: ControlDaemon) -> None:
    assert await ctl(daemon, "--version") == Outcome(0, f"aiidpctl {__version__}\n", "")


async def test_a_measurement_is_shown_as_in_the_list(daemon: ControlDaemon) -> None:
    endpoints = tuple(EndpointView(name, "http://x", f"model of {name}", True) for name in ("a.b", "c"))
    daemon.views["bench"].put(BenchView(endpoints))
    started, _ = await asyncio.gather(
        ctl(daemon, "bench", "run"), daemon_answers(daemon, "bench", **{"a.b.chunks": 3})
    )
    head, line = started.out.splitlines()
    assert head.startswith("ENDPOINT")
    assert line.startswith("a.b")
    assert "model of a.b" in line


async def daemon_answers(daemon: ControlDaemon, queue: str, **result: Any) -> None:
    job = await daemon.queues[queue].next()
    with job.running():
        job.succeed(**result)


@pytest.mark.parametrize("arguments", [["status"], ["events"], ["gpu", "list", "--json"]])
async def test_a_full_disk_is_one_sentence(daemon: ControlDaemon, arguments: list[str]) -> None:
    daemon.say()
    process = await asyncio.create_subprocess_shell(
        f"{' '.join(command(*arguments))} >/dev/full", env=environment(daemon), stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode() == "aiidpctl: cannot write what was found: No space left on device\n"


async def on_terminal(
    daemon: ControlDaemon, *arguments: str, shown: bytearray | None = None, **more: str
) -> str:
    """Return what ``aiidpctl`` shows on a terminal; ``shown`` is where it grows meanwhile."""
    shown = bytearray() if shown is None else shown
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        env=environment(daemon, **{"TERM": "xterm"} | more),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            piece = os.read(ours, 65536)
        except BlockingIOError:
            await asyncio.sleep(0.02)
            continue
        except OSError:  # the other end is closed
            break
        shown.extend(piece)
    os.close(ours)
    await process.wait()
    return shown.decode()
