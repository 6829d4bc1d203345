"""Starts the real daemon for a measurement and looks at it from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Subject:
    """A running daemon: its process, its folder, and how long it took to READY=1 (seconds)."""

    pid: int
    folder: Path
    ready_seconds: float

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.folder / "run/control.sock"

    @property
    def metrics(self) -> Path:
        """The metrics socket."""
        return self.folder / "run/metrics.sock"


@contextmanager
def daemon(config: str, environment: Mapping[str, str] | None = None) -> Iterator[Subject]:
    """Run ``aiidpd run`` with TOML ``config`` in a new folder until the block ends; yield it when READY."""
    with tempfile.TemporaryDirectory(prefix="aiidpd-bench-") as name:
        folder = Path(name)
        (folder / "run").mkdir()
        (folder / "state").mkdir()
        file = folder / "aiidpd.toml"
        file.write_text(
            f'[daemon]\nstate_directory = "{folder}/state"\nruntime_directory = "{folder}/run"\n'
            f'log_level = "warning"\n[control]\ngroup = ""\n{config}'
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(f"{folder}/notify")
            notify.settimeout(30)
            started = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "aiidpd", "run", "--config", str(file)],
                env={**os.environ, **(environment or {}), "NOTIFY_SOCKET": f"{folder}/notify"},
            )
            try:
                while b"READY=1" not in notify.recv(4096).split(b"\n"):
                    pass
                yield Subject(process.pid, folder, time.monotonic() - started)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=10)


def processes(pid: int) -> list[int]:
    """Return ``pid`` and all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found.extend(int(child) for child in (task / "children").read_text().split())
    return found


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of process ``pid``, without its children."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Pss line")


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the user and system time that the threads of ``pids`` have used, by the scheduler's own count.

    The ticks of ``/proc/PID/stat`` are as coarse as a whole percent of what is measured here.
    """
    spent = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile; ``share`` from 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(name: str, unit: str, figures: Mapping[str, tuple[float, float | None]]) -> None:
    """Print ``figures`` (measured, limit), a line each with the ratio to the limit, then one JSON object."""
    summary: dict[str, object] = {"bench": name, "unit": unit}
    for label, (measured, limit) in figures.items():
        ratio = None if limit is None else measured / limit
        against = "" if limit is None else f"  limit {limit:g}  ratio {ratio:.2f}"
        print(f"{label:<28} {measured:10.4g} {unit}{against}")
        summary[label] = {"measured": measured, "limit": limit, "ratio": ratio}
    print(json.dumps(summary))
