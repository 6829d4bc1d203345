"""Restores of 2 GiB in three files and of 10,000 small ones, by turns with restic, borg, rsync and cp.

``python -m bench.restore [MIB [SMALL_FILES [ROUNDS]]]``. It takes four times the bytes of the larger set on
the disk of /var/tmp. What is read is evicted from the page cache before each turn; what is written is on the
disk before the clock stops. rsync and cp copy the snapshot's tree and check nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.requests import RunRequest
from aiidpd.components.backup.process.run import BackupRun
from bench.harness import report
from bench.trees import evict, make_large, make_small, run, size_of, sync

LARGE_MIB = 2048
LARGE_FILES = 3
SMALL_FILES = 10_000
SMALL_BYTES = (1, 32 * 1024)
ROUNDS = 5
LEAST_TO_RESTIC = 2.0
LEAST_TO_BACKUP = 0.8
OURS = """
import sys
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.requests import (RestoreRequest)
from aiidpd.components.backup.process.restore import Restore
result = Restore(RestoreRequest(sys.argv[1], sys.argv[2]), Control()).execute()
sys.exit(result.failed.count or result.restored_files != int(sys.argv[3]))
"""


class Bench:
    """One set of files, stored by each; ``ways`` restore it to a folder."""

    def __init__(self, folder: Path, make: Callable[[Path], None], files: int) -> None:
        self.folder = folder
        self._turn = 0
        source = folder / "source"
        make(source)
        self.files = files
        self.bytes = size_of(source)
        os.sync()
        self.backup_seconds = self._store(source)
        shutil.rmtree(source)
        snapshot = next((folder / "aiidpd/snapshots").iterdir()) / "files"
        self._environment = {
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(folder / "cache"),
            "BORG_BASE_DIR": str(folder / "base"),
        }
        repositories = [folder / "aiidpd", folder / "restic", folder / "borg"]
        for command in (
            ("restic", "-q", "-r", folder / "restic", "check"),
            ("borg", "info", folder / "borg"),
        ):
            run(*command, environment=self._environment)
        self.ways: dict[str, tuple[Path, Callable[[Path], None]]] = {
            "aiidpd": (repositories[0], self._ours),
            "restic": (
                repositories[1],
                lambda place: self._run(
                    "restic", "-q", "-r", repositories[1], "restore", "latest", "--target", place
                ),
            ),
            "borg": (
                repositories[2],
                lambda place: self._run("borg", "extract", f"{repositories[2]}::one", folder=place),
            ),
            "rsync": (repositories[0], lambda place: self._run("rsync", "-a", f"{snapshot}/", f"{place}/")),
            "cp": (repositories[0], lambda place: self._run("cp", "-a", f"{snapshot}/.", place)),
        }

    def round(self) -> dict[str, float]:
        """Restore by each way; return the seconds."""
        seconds = {}
        for name, (repository, way) in self.ways.items():
            self._turn += 1
            place = self.folder / f"place-{self._turn}"
            place.mkdir()
            evict(repository)
            before = time.monotonic()
            way(place)
            sync(place)
            seconds[name] = time.monotonic() - before
            if self.files <= LARGE_FILES:  # ext4 is slow to create where many files were removed just now
                shutil.rmtree(place)
            os.sync()
        return seconds

    def _store(self, source: Path) -> float:
        target = self.folder / "aiidpd"
        target.mkdir()
        evict(source)
        before = time.monotonic()
        BackupRun(RunRequest(str(source), str(target), settle=0.0), Control()).execute()
        seconds = time.monotonic() - before
        environment = {
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(self.folder / "cache"),
            "BORG_BASE_DIR": str(self.folder / "base"),
        }
        restic = ("restic", "-q", "-r", self.folder / "restic")
        borg = self.folder / "borg"
        run(*restic, "init", environment=environment)
        run(*restic, "backup", ".", folder=source, environment=environment)
        run("borg", "init", "-e", "none", borg, environment=environment)
        run("borg", "create", "-C", "none", f"{borg}::one", ".", folder=source, environment=environment)
        return seconds

    def _ours(self, place: Path) -> None:
        self._run(sys.executable, "-c", OURS, self.folder / "aiidpd", place, str(self.files))

    def _run(self, *command: str | Path, folder: Path | None = None) -> None:
        run(*command, folder=folder, environment=self._environment)


def measure(name: str, folder: Path, make: Callable[[Path], None], files: int, rounds: int) -> None:
    """Print how long each way takes, and how often ours is done in that time."""
    bench = Bench(folder / name, make, files)
    found = [bench.round() for _ in range(rounds)]
    shutil.rmtree(bench.folder)
    median = {way: statistics.median(each[way] for each in found) for way in bench.ways}
    report(f"restore_{name}", "s", {way: (seconds, None) for way, seconds in median.items()})
    ratios: dict[str, tuple[float, float | None]] = {
        f"as_fast_as_{way}": (
            statistics.median(each[way] / each["aiidpd"] for each in found),
            LEAST_TO_RESTIC if way == "restic" else None,
        )
        for way in bench.ways
        if way != "aiidpd"
    }
    ratios["as_fast_as_the_backup"] = (bench.backup_seconds / median["aiidpd"], LEAST_TO_BACKUP)
    report(f"restore_{name}", "times", ratios)
    rate = bench.bytes / median["aiidpd"] / 1e6
    report(f"restore_{name}", "MB/s", {"aiidpd": (rate, None)})


def main() -> None:
    """Measure both sets, interleaved, so that a machine that drifts drifts for all."""
    given = [int(text) for text in sys.argv[1:]]
    mib, small, rounds = [*given, *(LARGE_MIB, SMALL_FILES, ROUNDS)[len(given) :]]
    with tempfile.TemporaryDirectory(prefix="aiidpd-bench-", dir="/var/tmp") as name:
        if mib:
            sizes = [mib // LARGE_FILES] * LARGE_FILES
            measure("large", Path(name), lambda source: make_large(source, sizes), LARGE_FILES, rounds)
        if small:
            measure(
                "small", Path(name), lambda source: make_small(source, small, *SMALL_BYTES), small, rounds
            )


if __name__ == "__main__":
    main()
