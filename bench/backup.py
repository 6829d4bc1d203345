"""Copying of a backup: few big files and many small ones, beside cp, rsync, dd, and the limit of the machine.

Each round has every contender copy the same files, which are taken out of the page cache before, to a new
folder; the time includes that of having all of it on the disk. The limit reads, hashes and writes at the same
time and does nothing else, once through the page cache and once past it: the faster one in a round counts.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.copy import Copied, Copier
from aiidpd.components.backup.process.plan import Entry, Kind
from aiidpd.components.backup.process.scan import scan
from bench.harness import report
from bench.trees import MEBIBYTE, evict, make_large, make_small, sync

ROUNDS: Final = 5
BIG: Final = (1024, 700, 324)
SMALL: Final = 10_000
BLOCK: Final = 4 * MEBIBYTE
OF_LIMIT: Final = 0.85
TIMES_RSYNC: Final = 2.0
MEMORY_LIMIT: Final = 48.0
_DONTCACHE: Final = 0x80
_THREADS: Final = 4


def files_of(source: Path) -> list[Entry]:
    """Return the files below ``source``."""
    return [entry for entry in scan(source, lambda: None) if entry.kind is Kind.FILE]


def ours(source: Path, target: Path) -> None:
    """Copy as a backup does."""
    partial = target.parent / "partial"
    partial.mkdir(exist_ok=True)
    made: set[Path] = set()

    def jobs() -> Iterator[tuple[Entry, Path]]:
        for entry in files_of(source):
            place = target / entry.path
            if place.parent not in made:
                place.parent.mkdir(parents=True, exist_ok=True)
                made.add(place.parent)
            yield entry, place

    with Copier(Control()) as copier:
        for entry, outcome in copier.copy_many(source, jobs(), partial):
            assert isinstance(outcome, Copied), (entry, outcome)


def limit(source: Path, target: Path, *, cached: bool) -> None:
    """Read, hash and write with as little as possible besides."""
    small: SimpleQueue[str | None] = SimpleQueue()
    threads = [Thread(target=_limit_small, args=(source, target, small, cached)) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for entry in files_of(source):
        (target / entry.path).parent.mkdir(parents=True, exist_ok=True)
        if entry.size > MEBIBYTE:
            _limit_big(source / entry.path, target / entry.path, entry.size, cached=cached)
        else:
            small.put(entry.path)
    for _ in threads:
        small.put(None)
    for thread in threads:
        thread.join()


def _limit_small(source: Path, target: Path, names: SimpleQueue[str | None], cached: bool) -> None:
    buffer = memoryview(bytearray(MEBIBYTE))
    flags = 0 if cached else _DONTCACHE
    while (name := names.get()) is not None:
        reading = os.open(f"{source}/{name}", os.O_RDONLY)
        count = os.preadv(reading, [buffer], 0, flags)
        os.close(reading)
        hashlib.sha256(buffer[:count]).hexdigest()
        writing = os.open(f"{target}/{name}", os.O_WRONLY | os.O_CREAT)
        os.pwritev(writing, [buffer[:count]], 0, flags)
        os.close(writing)


def _limit_big(source: Path, target: Path, size: int, *, cached: bool) -> None:
    reading = os.open(source, os.O_RDONLY)
    direct = 0 if cached else os.O_DIRECT
    writing = os.open(target, os.O_WRONLY | os.O_CREAT | direct)
    blocks: SimpleQueue[memoryview] = SimpleQueue()
    for _ in range(4):
        blocks.put(memoryview(mmap.mmap(-1, BLOCK)))
    to_hash: SimpleQueue[tuple[memoryview, int, int] | None] = SimpleQueue()
    to_write: SimpleQueue[tuple[memoryview, int, int] | None] = SimpleQueue()
    digest = hashlib.sha256()

    def do_hash() -> None:
        while (item := to_hash.get()) is not None:
            digest.update(item[0][: item[1]])
            to_write.put(item)
        to_write.put(None)

    def do_write() -> None:
        while (item := to_write.get()) is not None:
            os.pwrite(writing, item[0][: item[1]], item[2])
            blocks.put(item[0])

    threads = [Thread(target=do_hash), Thread(target=do_write)]
    for thread in threads:
        thread.start()
    at = 0
    while at < size:
        block = blocks.get()
        count = os.preadv(reading, [block], at, 0 if cached else _DONTCACHE)
        to_hash.put((block, count, at))
        at += count
    to_hash.put(None)
    for thread in threads:
        thread.join()
    os.close(reading)
    os.close(writing)


def dd(source: Path, target: Path) -> None:
    """Copy each file by dd."""
    for entry in files_of(source):
        (target / entry.path).parent.mkdir(parents=True, exist_ok=True)
        command = ["dd", f"if={source / entry.path}", f"of={target / entry.path}", "bs=4M", "status=none"]
        subprocess.run(command, check=True)


def program(*command: str) -> Callable[[Path, Path], None]:
    """Return what copies by another program, which gets source and target as its last arguments."""

    def run(source: Path, target: Path) -> None:
        subprocess.run([*command, f"{source}/.", f"{target}/"], check=True)

    return run


CONTENDERS: Final[dict[str, Callable[[Path, Path], None]]] = {
    "ours": ours,
    "limit_cached": lambda source, target: limit(source, target, cached=True),
    "limit_direct": lambda source, target: limit(source, target, cached=False),
    "rsync": program("rsync", "-a"),
    "cp": program("cp", "-a"),
    "dd": dd,
}


def child() -> None:
    """Copy once, in a process of its own; print the seconds and how much memory that took at most, in MiB."""
    name, source, target = sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    CONTENDERS[name](source, target)
    sync(target)
    took = time.monotonic() - began
    print(json.dumps([took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))


def measure(
    folder: Path, source: Path, names: list[str], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return seconds and MiB of each contender in each round."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in random.sample(names, len(names)):
            target = folder / "work" / "target"
            target.mkdir(parents=True)
            evict(source)
            sync(folder)
            command = [sys.executable, "-m", "bench.backup", "child", name, str(source), str(target)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            took, memory = json.loads(output)
            found[name].append((took, memory))
            shutil.rmtree(folder / "work")
    return found


def show(title: str, found: dict[str, list[tuple[float, float]]], count: float, unit: str) -> None:
    """Print the median rate of each, and the medians of the ratios within a round."""
    rates = {name: [count / took for took, _ in rounds] for name, rounds in found.items()}
    report(title, unit, {name: (statistics.median(rate), None) for name, rate in rates.items()})
    best = [max(pair) for pair in zip(rates["limit_cached"], rates["limit_direct"], strict=True)]
    of_limit = statistics.median(mine / most for mine, most in zip(rates["ours"], best, strict=True))
    figures: dict[str, tuple[float, float | None]] = {"of_the_limit": (of_limit, OF_LIMIT)}
    for name in ("rsync", "cp", "dd"):
        if name in rates:
            ratios = [mine / theirs for mine, theirs in zip(rates["ours"], rates[name], strict=True)]
            figures[f"times_{name}"] = (statistics.median(ratios), TIMES_RSYNC if name == "rsync" else None)
    report(title, "x", figures)
    report(title, "MiB", {"memory": (max(memory for _, memory in found["ours"]), MEMORY_LIMIT)})


def main() -> None:
    """Measure in a new folder below the one that the command line names, or where temporary files are."""
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS  # noqa: PLR2004 -- argument 2
    with tempfile.TemporaryDirectory(prefix="aiidpd-bench-", dir=parent) as name:
        folder = Path(name)
        source = folder / "big"
        make_large(source, BIG)
        found = measure(folder, source, list(CONTENDERS), rounds)
        show("copy of 2 GiB in 3 files", found, sum(BIG) * MEBIBYTE / 1e9, "GB/s")
        shutil.rmtree(source)
        source = folder / "small"
        make_small(source, SMALL)
        found = measure(folder, source, [name for name in CONTENDERS if name != "dd"], rounds)
        show("copy of 10,000 small files", found, SMALL, "files/s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child()
    else:
        main()
