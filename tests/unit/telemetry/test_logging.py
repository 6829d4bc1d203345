from __future__ import annotations

import io
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.kernel.events import Event, Severity
from aiidpd.telemetry import lines
from aiidpd.telemetry.log_writer import LogWriter
from aiidpd.telemetry.logging import configure, log_event, set_level
from tests.waiting import PATIENCE

HOT = Event(
    1_800_000_000.25,
    "thermal",
    "gpu.throttled",
    "GPU 0 is too hot",
    "gpu-0",
    severity=Severity.WARNING,
    evidence={"temperature_celsius": 91, "limit": None},
    simulated=True,
    id=12,
)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


def logged(act: Callable[[], None], **how: str) -> list[str]:
    """Return the lines that ``act`` causes."""
    stream = io.StringIO()
    outlet = configure(stream=stream, environ={}, **how)
    act()
    assert outlet.close(PATIENCE)
    return stream.getvalue().splitlines()


def test_a_line_for_people_tells_all() -> None:
    (line,) = logged(lambda: log_event(HOT))
    assert line == (
        "2027-01-15T08:00:00.250Z WARNING thermal gpu.throttled gpu-0 SIMULATED: GPU 0 is too hot "
        "(temperature_celsius=91, limit=None)"
    )


def test_a_line_for_machines_is_one_object() -> None:
    (line,) = logged(lambda: log_event(HOT), format="json")
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "warning",
        "id": 12,
        "source": "thermal",
        "kind": "gpu.throttled",
        "subject": "gpu-0",
        "simulated": True,
        "reason": "GPU 0 is too hot",
        "evidence": {"temperature_celsius": 91, "limit": None},
    }


def test_what_is_below_the_level_is_not_written() -> None:
    def act() -> None:
        for severity in Severity:
            log_event(Event(0.0, "s", "k", severity.name, severity=severity))
        set_level("error")
        log_event(HOT)
        set_level("debug")
        log_event(Event(0.0, "s", "k", "again", severity=Severity.DEBUG))

    said = [line.rpartition(": ")[2] for line in logged(act, level="warning")]
    assert said == ["WARNING", "ERROR", "again"]


def test_nothing_from_outside_forges_a_line() -> None:
    evil = "a\n<0>2027-01-15 kernel: panic\x1b[2J\u202e\udcff%s{}"
    event = Event(0.0, "s", "k", evil, evil, evidence={evil: evil})
    (line,) = logged(lambda: log_event(event))
    assert line.isprintable()
    assert "panic\\x1b[2J\\u202e" in line
    (line,) = logged(lambda: log_event(event), format="json")
    assert json.loads(line)["reason"] == evil


def test_empty_evidence_is_left_out_of_a_line_and_numbers_are_short():
    event = Event(
        0.0, "s", "k", "r", evidence={"late": "", "seconds": 0.0142805630000001, "at": 1795859513.231}
    )
    (line,) = logged(lambda: log_event(event))
    assert line.endswith("s k: r (seconds=0.014281, at=1795859513.231)")
    (line,) = logged(lambda: log_event(Event(0.0, "s", "k", "r", evidence={"late": ""})))
    assert line.endswith("s k: r")


@given(st.text(st.characters(codec=None)))
def test_what_is_printable_stays_and_the_rest_is_written_out(text: str) -> None:
    shown = lines.printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def test_what_other_libraries_log_comes_too_from_warning_on() -> None:
    def act() -> None:
        log = logging.getLogger("aiohttp.server")
        log.info("not this")
        log.warning("slow %s", "client\nforged")
        # not through the logger: pytest's own handler would not bear it
        ours = next(h for h in logging.getLogger().handlers if type(h).__module__.startswith("aiidpd"))
        ours.handle(logging.LogRecord("aiohttp.server", logging.WARNING, "", 0, "%d", ("no number",), None))
        try:
            int("bad")
        except ValueError:
            log.exception("it failed")

    said = logged(act)
    assert [line.partition(" ")[2] for line in said[:3]] == [
        "WARNING aiohttp.server log: slow client\\nforged",
        "WARNING aiohttp.server log: %d",
        "ERROR   aiohttp.server log: it failed",
    ]
    assert said[3] == "    Traceback (most recent call last):"
    assert said[-1].startswith("    ValueError: invalid literal")
    (record,) = logged(lambda: logging.getLogger("asyncio").error("x"), format="json")
    assert json.loads(record)["source"] == "asyncio"


def test_a_second_configuration_replaces_the_first() -> None:
    first = io.StringIO()
    outlet = configure(stream=first, environ={})
    assert len(logged(lambda: logging.getLogger("x").warning("once"))) == 1
    assert outlet.close(PATIENCE)
    assert first.getvalue() == ""


def test_the_journal_gets_marks_and_no_time() -> None:
    ours, journal = socket.socketpair()
    with ours, journal, ours.makefile("w") as stream:
        about = os.fstat(ours.fileno())
        environ = {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}
        outlet = configure(stream=stream, environ=environ)
        log_event(HOT)
        try:
            int("bad")
        except ValueError:
            logging.getLogger("x").exception("bad")
        assert outlet.close(PATIENCE)
        said = journal.recv(65_536).decode().splitlines()
        assert said[0].startswith("<4>thermal gpu.throttled gpu-0 SIMULATED: GPU 0 is too hot")
        assert said[1] == "<3>x log: bad"
        assert all(line.startswith("<3>    ") for line in said[2:])
        outlet = configure(format="json", stream=stream, environ=environ)
        log_event(HOT)
        assert outlet.close(PATIENCE)
        assert journal.recv(65_536).startswith(b'<4>{"time"')
        outlet = configure(stream=stream, environ={"JOURNAL_STREAM": "1:2"})  # somebody else's stream
        log_event(HOT)
        assert outlet.close(PATIENCE)
        assert journal.recv(65_536).startswith(b"2027-01-15T08:00:00.250Z WARNING")


def test_a_terminal_gets_colour_unless_it_wants_none() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    said = []
    for environ in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"}):
        stream = Terminal()
        outlet = configure(stream=stream, environ=environ)
        log_event(HOT)
        assert outlet.close(PATIENCE)
        said.append(stream.getvalue())
    assert "\x1b[33mWARNING\x1b[0m" in said[0]
    assert "\x1b" not in said[1] + said[2]


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), 1e300, -1e300])
def test_a_broken_clock_does_not_break_the_log(moment: float) -> None:
    assert len(logged(lambda: log_event(Event(moment, "s", "k", "r")))) == 1


def stalled(outlet: LogWriter) -> None:
    """Write until the reader's buffer and the queue are full."""
    deadline = time.monotonic() + PATIENCE
    while outlet.lost < 5:
        assert time.monotonic() < deadline
        outlet.write("x" * 100_000)


def test_a_reader_who_does_not_read_stalls_nobody() -> None:
    ours, reader = socket.socketpair()
    with ours, ours.makefile("w") as stream:
        outlet = LogWriter(stream, lambda count: f"{count} lost", limit=10)
        stalled(outlet)
        began = time.monotonic()
        for _ in range(10_000):
            outlet.write("x")
        assert time.monotonic() - began < PATIENCE
        assert outlet.lost > 9_900  # all but what the queue could still take
        assert not outlet.close(0.1)  # it hangs still, and the end does not wait for it
        reader.close()
        assert outlet.close(PATIENCE)


def test_what_was_lost_is_told_when_reading_goes_on() -> None:
    ours, reader = socket.socketpair()
    with ours, reader, ours.makefile("w") as stream:
        outlet = LogWriter(stream, lambda count: f"{count} lost", limit=10)
        stalled(outlet)
        reader.settimeout(PATIENCE)
        data, told = b"", 0
        while told != outlet.lost:
            data += reader.recv(1 << 20)
            told = sum(int(line.split()[0]) for line in data.split(b"\n")[:-1] if line.endswith(b" lost"))
        assert outlet.close(PATIENCE)


def test_a_reader_who_left_is_no_error() -> None:
    ours, reader = socket.socketpair()
    with ours, ours.makefile("w") as stream:
        reader.close()
        outlet = LogWriter(stream, str)
        outlet.write("x")
        outlet.write("y")
        assert outlet.close(PATIENCE)
        assert outlet.lost == 2


def test_what_waits_is_written_when_the_program_ends_badly() -> None:
    program = (
        "from aiidpd.telemetry.logging import configure, log_event\n"
        "from aiidpd.kernel.events import Event\n"
        "configure()\n"
        "for n in range(1000): log_event(Event(0.0, 's', 'k', str(n)))\n"
        "raise SystemExit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1_000
