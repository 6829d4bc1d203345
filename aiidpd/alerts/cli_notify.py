"""``aiidpctl notify``: desktop notifications, from the user's own session.

The daemon is a system service without a screen: it can't know whose desktop to write to, and should not be
able to. So whoever wants notifications runs this, as aiidpd-notify.service does in the user's systemd.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time
from typing import Any

from aiidpd.api.client import DaemonUnreachable
from aiidpd.cli.session import FAILED, Session
from aiidpd.cli.text import plain

_RANKS = ("debug", "info", "warning", "error")
_RETRY = 5.0  # seconds
_GONE_AFTER = 30.0  # seconds without the daemon until that is shown: a restart is none of it
_BURST, _WINDOW = 5, 60.0  # notifications in so many seconds, at most
_LONGEST = 400
_TIMEOUT = 10.0
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def add(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its options."""
    parser.add_argument(
        "--severity", choices=_RANKS[1:], default="error", help="the least that is shown (error)"
    )
    parser.add_argument(
        "--command", default="notify-send", metavar="PATH", help="the program that shows them"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, session: Session) -> int:
    """Show events until interrupted; fail where there is no program to show them."""
    command = shutil.which(options.command)
    if command is None:
        session.report(f"aiidpctl: there is no {options.command}; on Debian: apt-get install libnotify-bin")
        return FAILED
    desktop = _Desktop(command, session)
    lost_at: float | None = None
    shown = False
    # From now on; and after the daemon was away, whatever it published meanwhile.
    query: dict[str, Any] = {"since": time.time(), "limit": 1}
    while True:
        try:
            for event in session.client.stream("/v1/events", **query):
                if shown:
                    desktop.show("aiidpd answers again", "", "info")
                lost_at, shown = None, False
                if "id" in event:
                    query = {"after_id": event["id"]}
                if wanted(event, options.severity):
                    desktop.show(*words(event))
        except DaemonUnreachable as error:
            lost_at = time.monotonic() if lost_at is None else lost_at
            if not shown and time.monotonic() - lost_at >= _GONE_AFTER:
                shown = True
                desktop.show("aiidpd does not answer", str(error), "error")
        time.sleep(_RETRY)


def wanted(event: dict[str, Any], severity: str) -> bool:
    """Return whether ``event`` is to be shown: grave enough, or the end of an alert that was."""
    if "kind" not in event:
        return False
    rank = event["severity"]
    if event["kind"] in ("alert.resolved", "alert.expired"):
        rank = event["evidence"].get("alert_severity", rank)
    return rank in _RANKS and _RANKS.index(rank) >= _RANKS.index(severity)


def words(event: dict[str, Any]) -> tuple[str, str, str]:
    """Return title, text and severity of a notification."""
    alert = event["evidence"].get("alert")
    what = event["kind"] if not alert else f"{alert} {event['kind'].partition('.')[2]}"
    title = f"{what} {event['subject']}".rstrip() + (" (SIMULATED)" if event["simulated"] else "")
    remedy = event["evidence"].get("remedy")
    return title, event["reason"] + (f"\n{remedy}" if remedy else ""), event["severity"]


class _Desktop:
    """Shows notifications, few enough to be read; what is left out is counted in the next."""

    def __init__(self, command: str, session: Session) -> None:
        self._command = command
        self._session = session
        self._shown: list[float] = []
        self._left_out = 0

    def show(self, title: str, text: str, severity: str) -> None:
        now = time.monotonic()
        self._shown = [at for at in self._shown if now - at < _WINDOW]
        if len(self._shown) >= _BURST:
            self._left_out += 1
            return
        self._shown.append(now)
        if self._left_out:
            text += f"\nand {self._left_out} more: aiidpctl events"
            self._left_out = 0
        urgency = {"error": "critical", "warning": "normal"}.get(severity, "low")
        # The text is markup to a desktop, and its words come from elsewhere.
        body = "\n".join(plain(line) for line in text.splitlines())[:_LONGEST].translate(_ESCAPES)
        arguments = [self._command, "--app-name=aiidpd", f"--urgency={urgency}", "--", plain(title), body]
        try:
            subprocess.run(arguments, check=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL)  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            self._session.report(f"aiidpctl: cannot show a notification: {error}")
