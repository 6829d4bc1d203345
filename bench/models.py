"""Cost of a scan for models: time, files opened again, and how long the event loop waits meanwhile."""

from __future__ import annotations

import os
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from aiidpd.components.models.child import ChildControl
from aiidpd.components.models.record import InspectedRecord, ModelRecords
from aiidpd.components.models.registry import Known, view
from aiidpd.components.models.scanned import Scan
from aiidpd.components.models.worker import run_scan
from aiidpd.platform.thread import in_daemon_thread

MODELS, FILES = 500, 10_000
TICK = 0.005
MOST_DELAY_SECONDS = 0.020


def make(folder: Path) -> None:
    """Make 500 GGUF models with 4,000 keys each, and 10,000 small files beside them."""
    value = struct.pack("<IQ", 8, 40) + b"v" * 40
    pairs = b"".join(
        struct.pack("<Q", len(key)) + key + value for key in (b"key.%d" % each for each in range(4000))
    )
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 4000) + pairs
    for number in range(MODELS):
        (folder / f"model-{number}.gguf").write_bytes(header)
    for number in range(FILES):
        path = folder / f"d{number // 100}" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")


async def watched(call: Callable[[], object]) -> tuple[object, float, float]:
    """Return what ``call`` returns in a thread, its seconds, and the longest delay of the loop."""
    worst, ended = 0.0, False

    async def tick() -> None:
        nonlocal worst
        while not ended:
            before = time.perf_counter()
            await anyio.sleep(TICK)
            worst = max(worst, time.perf_counter() - before - TICK)

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        found: object = await in_daemon_thread(call)
        seconds, ended = time.perf_counter() - began, True
    return found, seconds, worst


async def measure(folder: Path) -> list[tuple[str, float, float, int]]:
    """Scan twice, and make the view."""
    rows = []
    known: dict[str, InspectedRecord] = {}
    found = Scan()
    _, seconds, delay = await watched(lambda: time.sleep(2.0))
    rows.append(("nothing", seconds, delay, 0))
    for name in ("first scan", "second scan"):
        given = dict(known)
        result, seconds, delay = await watched(lambda: run_scan(((folder, True),), given, ChildControl()))  # noqa: B023
        assert isinstance(result, Scan)
        found = result
        rows.append((name, seconds, delay, found.opened))
        known = {
            each.key: InspectedRecord(each.fingerprint, each.label, "", each.model.facts, each.model.problems)
            for each in found.models
        }
    _, seconds, delay = await watched(lambda: view(Known(found, ModelRecords()), 0.0))
    rows.append(("view", seconds, delay, 0))
    return rows


def main() -> int:
    """Print what was measured; return 1 where the loop waited too long."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make(folder)
        os.sync()
        rows = anyio.run(measure, folder)
    print(f"{MODELS} models of 4,000 keys, {FILES} other files, page cache warm")
    for name, seconds, delay, opened in rows:
        print(
            f"{name:12} {seconds:7.3f} s  {opened:4} opened  loop delayed by at most {1000 * delay:5.1f} ms"
        )
    print(f"resident memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return 0 if max(delay for _, _, delay, _ in rows) <= MOST_DELAY_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
