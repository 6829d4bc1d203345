"""A small source and a target on the real file system."""

import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from aiidpd.components.backup.cancel import RunControl
from aiidpd.components.backup.run import BackupRun
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.view import SnapshotInfo
from tests.tables import made

DAILY = "*-*-* 03:00:00"


@dataclass
class Site:
    """Where a test backs up from and to; ``now`` is what runs take for the time."""

    source: Path
    target: Path
    now: float = 1_800_000_000.0

    @property
    def settings(self) -> BackupSettings:
        return made(BackupSettings, source=self.source, target=self.target, schedule=DAILY, reserve=0)

    def run(self, control: RunControl | None = None) -> BackupRun:
        return BackupRun(self.settings, control or RunControl(), lambda: self.now)

    def backup(self) -> SnapshotInfo:
        self.now += 60
        return self.run().execute()

    def snapshots(self) -> list[str]:
        folder = self.target / "snapshots"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def leftovers(self) -> list[Path]:
        folder = self.target / "incomplete"
        return list(folder.iterdir()) if folder.exists() else []


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "source", tmp_path / "target")
    site.target.mkdir()
    (site.source / "hub" / "blobs").mkdir(parents=True)
    (site.source / "hub" / "snapshots").mkdir()
    numbers = random.Random(1)
    (site.source / "config.json").write_bytes(b"{}")
    (site.source / "hub" / "blobs" / "abc").write_bytes(numbers.randbytes(300_000))
    (site.source / "hub" / "snapshots" / "model").symlink_to("../blobs/abc")
    (site.source / "half.incomplete").write_bytes(b"not yet")
    (site.source / os.fsdecode(b"odd\n\\\xff")).write_bytes(b"odd")
    return site
