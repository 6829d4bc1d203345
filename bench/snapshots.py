"""Backups as users make them, by turns with restic, borg, rclone, rsync, and checksums with rsync -c.

``python -m bench.snapshots [MIB [SMALL_FILES [ROUNDS]]]``. In each round every contender begins with an
empty store; each makes a first backup, one with nothing changed, one with 1 % changed (the first bytes of a
large file, or every hundredth small one), and reads back all that it stored, where it can. The source is
cold for the first and the changed one, the store for reading back; the time ends when all of it is on the
disk. It takes ten times the bytes of the larger set on the disk of /var/tmp.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from aiidpd.components.backup.client import PROGRAM
from aiidpd.components.backup.process.protocol import Line, Request, decode_line, encode
from aiidpd.components.backup.process.requests import RunRequest, VerifyRequest
from bench.harness import report
from bench.trees import MEBIBYTE, evict, make_large, make_small, run, size_of, sync

LARGE_MIB: Final = 2048
LARGE_FILES: Final = 4
SMALL_FILES: Final = 10_000
ROUNDS: Final = 3
STEPS: Final = ("first", "unchanged", "changed", "read_back")
# How much faster ours is to be: than whom, at what.
TARGETS: Final = {
    ("first", "restic"): 5.0,
    ("first", "checksums"): 5.0,
    ("first", "rsync"): 2.0,
    ("unchanged", "rsync"): 1.0,
}
OF_HASHING: Final = 0.9
_SUMS: Final = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"


class Contender(ABC):
    """A program with its store in a folder of its own."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.store = folder / "store"
        self.source = source
        self.environment_of = {
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(folder / "cache"),
            "BORG_BASE_DIR": str(folder / "base"),
            "RCLONE_CONFIG": str(folder / "rclone.conf"),
        }
        self.begin()

    def begin(self) -> None:
        """Make an empty store; the clock does not run."""
        self.store.mkdir(parents=True)

    @abstractmethod
    def back_up(self) -> None:
        """Back the source up."""

    def read_back(self) -> bool:
        """Read all that is stored and compare it with its hashes; False where the program can't."""
        return False

    def run(self, *command: str | Path, folder: Path | None = None) -> None:
        """Run a command that knows where its store is."""
        run(*command, folder=folder, environment=self.environment_of)

    def shell(self, script: str, folder: Path) -> None:
        """Run a script in ``folder``."""
        self.run("bash", "-euo", "pipefail", "-c", script, folder=folder)


class Ours(Contender):
    """The backup process with its defaults; a file may have changed a moment ago."""

    def back_up(self) -> None:
        assert self._served(RunRequest(str(self.source), str(self.store), settle=0.0)).run is not None

    def read_back(self) -> bool:
        assert self._served(VerifyRequest(str(self.store), str(self.source))).verify is not None
        return True

    def _served(self, request: Request) -> Line:
        """Have the process carry out a request, as the daemon does; return its last line."""
        with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(encode(request))
            process.stdin.flush()
            return decode_line(process.stdout.readlines()[-1])


class Rsync(Contender):
    """``rsync -a``, which compares nothing with anything that it wrote."""

    def back_up(self) -> None:
        self.run("rsync", "-a", f"{self.source}/", f"{self.store}/")


class RsyncAndSums(Rsync):
    """``rsync -a``, then the checksums of what lies in the store."""

    def back_up(self) -> None:
        super().back_up()
        self.shell(f"{_SUMS} > ../SHA256SUMS", self.store)

    def read_back(self) -> bool:
        self.shell("sha256sum --quiet -c ../SHA256SUMS", self.store)
        return True


class Checksums(RsyncAndSums):
    """Checksums of the source, ``rsync -c``, and the copy compared with the checksums."""

    def back_up(self) -> None:
        self.shell(f"{_SUMS} > {self.store.parent}/SHA256SUMS", self.source)
        self.run("rsync", "-a", "-c", f"{self.source}/", f"{self.store}/")
        self.read_back()


class Cp(Contender):
    """``cp -a -u``."""

    def back_up(self) -> None:
        self.run("cp", "-a", "-u", f"{self.source}/.", self.store)


class Restic(Contender):
    """restic with its defaults."""

    options: ClassVar[tuple[str, ...]] = ()

    def begin(self) -> None:
        super().begin()
        self.run("restic", "-q", "-r", self.store, "init")

    def back_up(self) -> None:
        self.run("restic", "-q", "-r", self.store, *self.options, "backup", ".", folder=self.source)

    def read_back(self) -> bool:
        self.run("restic", "-q", "-r", self.store, "check", "--read-data")
        return True


class ResticPlain(Restic):
    """restic without compression."""

    options = ("--compression", "off")


class Borg(Contender):
    """borg without compression and encryption."""

    def begin(self) -> None:
        super().begin()
        self._count = 0
        self.run("borg", "init", "-e", "none", self.store)

    def back_up(self) -> None:
        self._count += 1
        self.run("borg", "create", "-C", "none", f"{self.store}::{self._count}", ".", folder=self.source)

    def read_back(self) -> bool:
        self.run("borg", "check", "--verify-data", self.store)
        return True


class Rclone(Contender):
    """``rclone sync``, which compares checksums of what it copied."""

    def begin(self) -> None:
        super().begin()
        (self.store.parent / "rclone.conf").touch()

    def back_up(self) -> None:
        self.run("rclone", "sync", self.source, self.store)


CONTENDERS: Final[dict[str, type[Contender]]] = {
    "ours": Ours,
    "rsync": Rsync,
    "rsync_and_sums": RsyncAndSums,
    "checksums": Checksums,
    "cp": Cp,
    "restic": Restic,
    "restic_plain": ResticPlain,
    "borg": Borg,
    "rclone": Rclone,
}


def change_large(source: Path) -> None:
    """Write the first bytes of a file anew: a hundredth of all bytes."""
    with next(source.iterdir()).open("r+b") as file:
        file.write(os.urandom(size_of(source) // 100))


def change_small(source: Path) -> None:
    """Write every hundredth file anew."""
    for path in sorted(source.rglob("*.json"))[::100]:
        path.write_bytes(os.urandom(path.stat().st_size))


def measure(
    folder: Path, make: Callable[[Path], None], change: Callable[[Path], None]
) -> dict[str, dict[str, float]]:
    """Return the seconds that each contender takes for each step, by turns in an order by chance."""
    source = folder / "source"
    make(source)
    sync(folder)
    contenders = {name: kind(folder / name, source) for name, kind in CONTENDERS.items()}
    found: dict[str, dict[str, float]] = {step: {} for step in STEPS}
    for step in STEPS:
        if step == "changed":
            change(source)
        for name in random.sample(list(contenders), len(contenders)):
            contender = contenders[name]
            if step == "read_back":
                evict(contender.store)
            elif step != "unchanged":
                evict(source)
            sync(folder)
            began = time.monotonic()
            if step != "read_back":
                contender.back_up()
            elif not contender.read_back():
                continue
            sync(folder)
            found[step][name] = time.monotonic() - began
    shutil.rmtree(folder)
    return found


def hashing() -> float:
    """Return how many bytes a second one core hashes."""
    data = os.urandom(64 * MEBIBYTE)
    began = time.monotonic()
    for _ in range(8):
        hashlib.sha256(data).digest()
    return 8 * len(data) / (time.monotonic() - began)


def show(title: str, rounds: list[dict[str, dict[str, float]]]) -> None:
    """Print the medians of each step, and how often ours is done while another program is at it."""
    for step in STEPS:
        label = f"{title}, {step.replace('_', ' ')}"
        taken = [each[step] for each in rounds]
        names = list(taken[0])
        report(label, "s", {name: (statistics.median(each[name] for each in taken), None) for name in names})
        ratios = {
            name: (statistics.median(each[name] / each["ours"] for each in taken), TARGETS.get((step, name)))
            for name in names
            if name != "ours"
        }
        report(label, "times as fast as it", ratios)


def main() -> None:
    """Measure both sets."""
    given = [int(text) for text in sys.argv[1:]]
    mib, small, rounds = [*given, *(LARGE_MIB, SMALL_FILES, ROUNDS)[len(given) :]]
    with tempfile.TemporaryDirectory(prefix="aiidpd-bench-", dir="/var/tmp") as name:
        folder = Path(name) / "round"
        if mib:
            sizes = [mib // LARGE_FILES] * LARGE_FILES
            found, shares = [], []
            for _ in range(rounds):
                found.append(measure(folder, lambda source: make_large(source, sizes), change_large))
                stored = (mib + sizes[0]) * MEBIBYTE  # that of the changed file as it was, too
                shares.append(stored / found[-1]["read_back"]["ours"] / hashing())
            show(f"{mib} MiB", found)
            report("read back", "of one core's hashing", {"ours": (statistics.median(shares), OF_HASHING)})
        if small:
            found = [
                measure(folder, lambda source: make_small(source, small), change_small) for _ in range(rounds)
            ]
            show(f"{small} small files", found)


if __name__ == "__main__":
    main()
