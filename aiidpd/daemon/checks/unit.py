"""Checks of the service's unit: whether it is installed, and can do what the daemon needs."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, failed, ok, warning

_PATIENCE: Final = 5.0
_DEVICES: Final = frozenset({"char-nvidia", "char-nvidiactl"})


def checks(_settings: Settings, around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    return (Check("unit", lambda: unit(around)),)


def unit(around: Surroundings) -> Iterator[CheckResult]:
    """Yield what is right and wrong with the unit."""
    if not around.unit:
        yield ok("no unit of aiidpd is installed here, so that nothing is said of a sandbox")
        return
    if around.sandbox is not None and not around.sandbox.strict:
        yield warning(f"{around.unit} has no ProtectSystem=strict", "install the unit of this version anew")
    yield from _programs(around)
    devices = {word.split()[0] for word in around.described.get("DeviceAllow", ()) if word}
    if around.described.get("DevicePolicy", ("",))[-1] == "closed" and not devices >= _DEVICES:
        cure = "let DeviceAllow name char-nvidia and char-nvidiactl: with fewer the driver shows no GPU"
        yield warning(f"{around.unit} hides the GPUs", cure)
    yield from _manager()


def _programs(around: Surroundings) -> Iterator[CheckResult]:
    commands = around.described.get("ExecStart", ())
    missing = [path for command in commands if (path := _program(command)) and not os.access(path, os.X_OK)]
    for path in missing:
        yield failed(
            f"{path}, which {around.unit} starts, is not there", "install aiidpd there, or mend ExecStart"
        )
    if not missing:
        yield ok(f"{around.unit} runs it as {around.user}")


def _program(command: str) -> str:
    words = shlex.split(command.lstrip("@-:+!"))
    return words[0] if words and words[0].startswith("/") else ""


def _manager() -> Iterator[CheckResult]:
    """Yield what the running systemd says of the unit, nothing where none runs."""
    if not Path("/run/systemd/system").is_dir():
        return
    command = ["systemctl", "show", "aiidpd.service", "-p", "NeedDaemonReload", "-p", "UnitFileState"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        yield warning("systemctl does not answer", "see that systemd and D-Bus run")
        return
    if "NeedDaemonReload=yes" in done.stdout:
        yield warning("the unit's files changed after systemd read them", "systemctl daemon-reload")
    if "UnitFileState=disabled" in done.stdout:
        yield warning("the unit is not started at a boot", "systemctl enable aiidpd")
