"""A small source and a target on the real file system."""

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.manifest import FILES, Manifest
from aiidpd.components.backup.process.requests import RunRequest
from aiidpd.components.backup.process.results import RunResult
from aiidpd.components.backup.process.run import BackupRun
from aiidpd.components.backup.process.store import Store
from tests.unit.components.backup.process.places import Place

EXCLUDE = ("*.tmp", "*.lock", "*.incomplete")


@dataclass
class Site:
    """Where a test backs up from and to; ``now`` is what runs take for the time."""

    source: Path
    target: Path
    now: float = 1_800_000_000.0
    changes: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def request(self) -> RunRequest:
        given = {"exclude": EXCLUDE, "settle": 0.0, **self.options}
        return RunRequest(str(self.source), str(self.target), **given)

    @property
    def store(self) -> Store:
        return Store(self.target)

    def run(self, control: Control | None = None) -> BackupRun:
        return BackupRun(self.request, control or Control(), self.now)

    def backup(self, control: Control | None = None) -> RunResult:
        self.now += 60
        return self.run(control).execute()

    def change(self) -> None:
        """Have a later run find something new."""
        self.changes += 1
        (self.source / "changes").write_text("x" * self.changes)

    def files(self, snapshot: str) -> Path:
        return self.target / "snapshots" / snapshot / FILES

    def manifest(self, snapshot: str) -> Manifest:
        return self.store.load(snapshot)

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


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "source", tmp_path / "target")
    place.target.mkdir()
    place.write("config.json", b"{}")
    place.write("hub/blobs/abc", 300_000)
    place.write(os.fsdecode(b"odd\n\\\xff"), b"odd")
    (place.source / "hub" / "snapshots").mkdir()
    (place.source / "hub" / "snapshots" / "model").symlink_to("../blobs/abc")
    (place.source / "empty").mkdir()
    return place


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the system refuse hard links, as FAT and some network file systems do."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)


@pytest.fixture
def at_file() -> Callable[[int, Callable[[], None]], Control]:
    """Return a control that calls something when so many files are done."""

    def make(count: int, action: Callable[[], None]) -> Control:
        class AtFile(Control):
            done = 0

            def end_file(self, count_: int = 1) -> None:
                self.done += count_
                if self.done == count:
                    action()
                super().end_file(count_)

        return AtFile()

    return make
