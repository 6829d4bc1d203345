"""Two minutes in the life of a simulated daemon, as others see it: metrics, documents, state directory."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiidpd import __version__
from aiidpd.components.thermal.forecast.baseline import Baselines, to_baselines
from aiidpd.components.thermal.forecast.resistance import Baseline, Operation
from aiidpd.platform.statefile import StateFile
from tests.golden.golden import as_text
from tests.golden.simulated import BEGAN, simulated

SECONDS: Final = 121.0
ENDED: Final = BEGAN + SECONDS
HISTORY: Final = "history.sqlite3"
BOOT: Final = "00000000-0000-4000-8000-000000000000"
READ: Final = {
    "status": "/v1/status",
    "events": "/v1/events?limit=1000",
    "alerts": "/v1/alerts",
    "gpus": "/v1/gpus",
    "gpus_energy": "/v1/gpus/energy",
    "containers": "/v1/containers",
    "audit": "/v1/audit",
    "engines": "/v1/engines",
    "backup_snapshots": "/v1/backup/snapshots",
    "models": "/v1/models",
    "bench_results": "/v1/bench/results",
    "bench_regressions": "/v1/bench/regressions",
    "incidents": "/v1/incidents",
    "jobs": "/v1/jobs",
    "config": "/v1/config",
}
LEARNT: Final = {
    "GPU-SIMULATED-0": {
        "idle/06": Baseline(Operation(21.5, 150.25, 0.31, 14.75, 0.0), 14400.0),
        "ambient/12": Baseline(Operation(38.0, 298.5, 0.62), 3600.0),
        "cooling/1": Baseline(Operation(12.5, 15.0, 0.3, 14.75, 0.0, 0.125), 45.0),
    }
}
_OF_THIS_RUN: Final = (
    (re.compile(r'("pid": )\d+'), r"\g<1>1"),
    (re.compile(r'("written_at": )[\d.]+'), rf"\g<1>{BEGAN}"),
    (re.compile(r'("boot(?:_id)?": ")[^"]*'), rf"\g<1>{BOOT}"),
    (re.compile(rf'("version": "|aiidpd ){re.escape(__version__)}'), r"\g<1>VERSION"),
    (re.compile(r"(aiidpd_build_info\{).*(\} )"), r'\g<1>version="VERSION",python="VERSION"\g<2>'),
    # How far a copying thread was when it was last seen.
    (
        re.compile(
            r'("message": ")(?:listing|copying|verifying|publishing)(?: \d+ of \d+ files)?'
            r'(",\s*"done": )[\d.]+(,\s*"total": )[\d.]+'
        ),
        r"\g<1>listing\g<2>0.0\g<3>0.0",
    ),
    (re.compile(r'("/golden/backup": ")[0-9a-f-]{36}'), rf"\g<1>{BOOT}"),
    # The backup process has the machine's clock, and its disk.
    (re.compile(r'("(?:verified_at|oldest_proof)": )[\d.]+'), rf"\g<1>{BEGAN}"),
    (re.compile(r'("(?:free|room)": )\d+'), r"\g<1>0"),
    (
        re.compile(
            r"^(aiidpd_backup_(?:oldest_proof_timestamp_seconds|target_free_bytes) ).*$", re.MULTILINE
        ),
        r"\g<1>*",
    ),
    # Disks, inodes and processes of whatever machine it is.
    (re.compile(r'("(?:free_bytes|total_bytes|day)": )\d+'), r"\g<1>1"),
    (re.compile(r'("(?:mount|disk)": ")[^"]*'), r"\g<1>/"),
    (re.compile(r'("space": \{\s*")[^"]*'), r"\g<1>/"),
    (re.compile(r'("inode": )\d+'), r"\g<1>1"),
    (re.compile(r'("fingerprint": ")[^"]*'), r"\g<1>f"),
    (re.compile(r'("scan_seconds": )[\d.e-]+'), r"\g<1>0.1"),
    (re.compile(r'("open_reason": ")[^"]*'), r"\g<1>"),
    (re.compile(r"^(aiidpd_models_scan_duration_seconds ).*$", re.MULTILINE), r"\g<1>*"),
    (re.compile(r'^(aiidpd_models_disk_\w+\{mount=")[^"]*("\} ).*$', re.MULTILINE), r"\g<1>/\g<2>*"),
    # Its writer is a thread with a clock of its own.
    (re.compile(r"^(aiidpd_history_\w+(?:\{.*\})? ).*$", re.MULTILINE), r"\g<1>*"),
)
_LONG = re.compile(r"\d+\.\d{7,}(?:e[-+]\d+)?")


@dataclass(frozen=True)
class Observed:
    """``documents`` are texts by their names; ``state`` is the state directory that a kill would leave."""

    metrics: str
    documents: dict[str, str]
    state: Path


def steady(folder: Path) -> Callable[[str], str]:
    """Return what takes out of a text all that another run, or another machine, would write differently."""

    def change(text: str) -> str:
        text = text.replace(str(folder), "/golden")
        for pattern, replacement in _OF_THIS_RUN:
            text = pattern.sub(replacement, text)
        # The mathematics of another machine may end with another digit.
        return _LONG.sub(lambda match: repr(round(float(match[0]), 6)), text)

    return change


async def observe(folder: Path, kept: Path) -> Observed:
    """Run a daemon in ``folder`` and return what it shows; its state directory is copied to ``kept``."""
    clean = steady(folder)
    documents: dict[str, Any] = {}
    (folder / "state").mkdir()
    baselines = StateFile(folder / "state" / "gpu-baselines.json", Baselines, indent=1)
    baselines.save(to_baselines(LEARNT))  # it takes days to learn them
    async with simulated(folder) as daemon:
        await daemon.advance(SECONDS)
        metrics = await daemon.metrics()
        documents |= {name: await daemon.get(path) for name, path in READ.items()}
        incident = documents["incidents"]["incidents"][0]
        documents["incident"] = await daemon.get(f"/v1/incidents/{incident['id']}", points=60)
        for each in (*documents["incidents"]["incidents"], documents["incident"]):
            each["bytes"] = 40_000  # the path of the folder is in it, as long as that may be
        shutil.copytree(daemon.state, kept)
        # And what it answers where something is asked of it.
        documents["backup_run"] = await daemon.post("/v1/backup/runs")
        await daemon.advance(1.0)
        documents["backup_job"] = await daemon.get(f"/v1/jobs/{documents['backup_run']['id']}")
        documents["bench_run"] = await daemon.post("/v1/bench/runs", endpoint="simulated")
        await daemon.advance(5.0)
        documents["bench_job"] = await daemon.get(f"/v1/jobs/{documents['bench_run']['id']}")
        documents["gpus_release"] = await daemon.post("/v1/gpus/release", seconds=60)
        documents["gpus_resume"] = await daemon.post("/v1/gpus/resume")
        config = folder / "aiidpd.toml"
        config.write_text(config.read_text() + "\n[gpu.energy]\nprice_per_kwh = 0.4\n")
        documents["config_reload"] = await daemon.post("/v1/config/reload")
    _take_history(folder / "state" / HISTORY, kept, last=documents["events"]["events"][-1]["id"])
    _clean_files(kept, clean)
    return Observed(
        clean(metrics), {name: clean(as_text(document)) for name, document in documents.items()}, kept
    )


def _clean_files(kept: Path, clean: Callable[[str], str]) -> None:
    (kept / "lock").unlink()
    for file in kept.rglob("*"):
        if file.is_file() and file.name != HISTORY:
            file.write_bytes(clean(file.read_bytes().decode()).encode())


def _take_history(source: Path, kept: Path, *, last: int) -> None:
    """Put the history up to the event ``last`` into ``kept``, as one file."""
    for file in kept.glob(f"{HISTORY}*"):
        file.unlink()
    with closing(sqlite3.connect(source)) as database:
        database.execute("VACUUM INTO ?", (str(kept / HISTORY),))
    with closing(sqlite3.connect(kept / HISTORY, isolation_level=None)) as database:
        database.execute("DELETE FROM event WHERE id > ?", (last,))
        database.execute("DELETE FROM sample WHERE time > ?", (ENDED * 1000,))
        database.execute("VACUUM")
