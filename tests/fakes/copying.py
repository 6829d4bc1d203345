"""A backup's copying as a process of its own, to be killed, and to be run on disks that fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.copy import Copied, Copier
from aiidpd.components.backup.process.plan import Entry, Kind
from aiidpd.components.backup.process.scan import scan
from aiidpd.kernel.errors import AiidpdError

ROOT = Path(__file__).parents[2]


def files_of(source: Path) -> list[Entry]:
    """Return the entries of all files below ``source``."""
    found = [entry for entry in scan(source, lambda: None) if entry.kind is Kind.FILE]
    return sorted(found, key=lambda entry: entry.path)


def copy_all(source: Path, target: Path, control: Control, **options: Any) -> dict[str, Any]:
    """Copy ``source`` to ``target``/files; return the outcome of each file, errors in words."""
    files, partial = target / "files", target / "partial"
    partial.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, Any] = {}

    def jobs() -> Any:
        for entry in files_of(source):
            place = files / entry.path
            place.parent.mkdir(parents=True, exist_ok=True)
            yield entry, place

    with Copier(control, **options) as copier:
        for entry, outcome in copier.copy_many(source, jobs(), partial):
            if isinstance(outcome, Copied):
                outcomes[entry.path] = [outcome.sha256, outcome.read_bytes]
            else:
                outcomes[entry.path] = f"{type(outcome).__name__}: {outcome}"
    return outcomes


def start(
    source: Path, target: Path, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start a process that copies; it prints the outcomes, or the error that ended it, as JSON."""
    command = [sys.executable, "-m", "tests.fakes.copying", str(source), str(target), json.dumps(options)]
    env = {**os.environ, **(environment or {})}
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE)


def run(source: Path, target: Path, environment: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Copy in a process of its own; return the outcomes, or the error in words."""
    with start(source, target, environment, **options) as process:
        return json.loads(process.communicate(timeout=250)[0])


def main() -> None:
    """Copy, and stop at SIGTERM."""
    control = Control()
    signal.signal(signal.SIGTERM, lambda *_: setattr(control, "cancelled", True))
    try:
        found: Any = copy_all(Path(sys.argv[1]), Path(sys.argv[2]), control, **json.loads(sys.argv[3]))
    except (AiidpdError, Cancelled) as error:
        found = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
