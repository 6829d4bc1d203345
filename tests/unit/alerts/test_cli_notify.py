from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiidpd.alerts import cli_notify
from aiidpd.api.client import AccessDenied, ControlClient
from aiidpd.cli.session import FAILED, Session
from aiidpd.cli.text import Paint


def event(kind: str, severity: str = "error", **evidence: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "time": 1.0,
        "kind": kind,
        "subject": "GPU-0",
        "severity": severity,
        "reason": "it is <b>hot</b>\x1b[2J & loud",
        "evidence": evidence,
        "simulated": True,
    }


class Told(ControlClient):
    """A daemon that says what a test gives it, and then turns the user away."""

    def __init__(self, *lines: dict[str, Any]) -> None:
        super().__init__("nowhere")
        self._lines = lines

    def stream(self, path: str, **query: Any) -> Iterator[Any]:
        assert path == "/v1/events"
        assert "since" in query
        yield from self._lines
        raise AccessDenied("enough")


@pytest.fixture
def desktop(tmp_path: Path) -> Path:
    """A program in place of notify-send that writes down each of its arguments."""
    command = tmp_path / "notify-send"
    command.write_text(
        "#!/usr/bin/env python3\nimport json, sys\n"
        f"open({str(tmp_path / 'shown')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    )
    command.chmod(0o755)
    return command


def run(desktop: Path, *lines: dict[str, Any], severity: str = "error") -> list[list[str]]:
    options = argparse.Namespace(severity=severity, command=str(desktop))
    session = Session(Told(*lines), False, io.StringIO(), io.StringIO(), Paint())
    with pytest.raises(AccessDenied):
        cli_notify.run(options, session)
    shown = desktop.with_name("shown")
    return [json.loads(line) for line in shown.read_text().splitlines()] if shown.exists() else []


def test_what_is_grave_is_shown_without_markup_or_control_characters(desktop: Path) -> None:
    quiet = event("container.died", "warning")
    grave = event("alert.firing", alert="GpuLost", remedy="look at dmesg")
    (arguments,) = run(desktop, {"missed": 1, "reason": "x"}, quiet, grave)
    assert arguments[:3] == ["--app-name=aiidpd", "--urgency=critical", "--"]
    assert arguments[3] == "GpuLost firing GPU-0 (SIMULATED)"
    assert arguments[4] == "it is &lt;b&gt;hot&lt;/b&gt;\\x1b[2J &amp; loud\nlook at dmesg"


def test_the_end_of_a_grave_alert_is_shown_too(desktop: Path) -> None:
    ended = event("alert.resolved", "info", alert="GpuLost", alert_severity="error")
    other = event("alert.resolved", "info", alert="GpuTemperatureWarning", alert_severity="warning")
    shown = run(desktop, ended, other)
    assert [arguments[3] for arguments in shown] == ["GpuLost resolved GPU-0 (SIMULATED)"]
    assert shown[0][1] == "--urgency=low"


def test_a_flood_is_cut_short(desktop: Path) -> None:
    assert len(run(desktop, *[event("a.b") for _ in range(50)])) == 5


def test_severity_is_what_is_asked_for(desktop: Path) -> None:
    assert len(run(desktop, event("a.b", "warning"), event("a.c", "info"), severity="warning")) == 1


def test_without_a_program_to_show_them_it_says_so(tmp_path: Path) -> None:
    err = io.StringIO()
    session = Session(Told(), False, io.StringIO(), err, Paint())
    options = argparse.Namespace(severity="error", command=str(tmp_path / "nothing"))
    assert cli_notify.run(options, session) == FAILED
    assert "libnotify-bin" in err.getvalue()
