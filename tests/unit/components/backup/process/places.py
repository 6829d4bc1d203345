"""A source and a target on the real file system, and requests to the work of the process itself."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.requests import RunRequest, SummaryRequest, VerifyRequest
from aiidpd.components.backup.process.results import RunResult, SummaryResult, VerifyResult
from aiidpd.components.backup.process.run import BackupRun
from aiidpd.components.backup.process.store import Store
from aiidpd.components.backup.process.summary import summarize
from aiidpd.components.backup.process.verify import Verification

EARLY = 1_000_000_000.0  # mtime of the files, so that none was changed just now


@dataclass
class Place:
    """A source and its target; ``now`` is the time that the work is given, and moves an hour for each."""

    source: Path
    target: Path
    now: float = 1_800_000_000.0
    numbers: random.Random = field(default_factory=lambda: random.Random(1))

    def write(self, path: str, content: bytes | int) -> bytes:
        """Make a file of the source, of so many random bytes where a number is given."""
        data = self.numbers.randbytes(content) if isinstance(content, int) else content
        place = self.source / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        os.utime(place, (EARLY, EARLY))
        return data

    def run(self, **options: Any) -> RunResult:
        self.now += 3600
        request = RunRequest(str(self.source), str(self.target), **options)
        return BackupRun(request, Control(), self.now).execute()

    def verify(self, control: Control | None = None, **options: Any) -> VerifyResult:
        self.now += 3600
        request = VerifyRequest(str(self.target), **options)
        return Verification(request, control or Control(), lambda: self.now).execute()

    def summary(self) -> SummaryResult:
        return summarize(SummaryRequest(str(self.target)), Control())

    @property
    def store(self) -> Store:
        return Store(self.target)

    def file(self, snapshot: str, path: str) -> Path:
        return self.target / "snapshots" / snapshot / "files" / path

    def objects(self) -> list[Path]:
        return sorted(path for path in (self.target / "objects").rglob("*") if path.is_file())

    def agrees(self, snapshot: str) -> bool:
        """Return whether sha256sum finds every file of a snapshot right."""
        folder = self.target / "snapshots" / snapshot
        command = ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"]
        return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def flip(path: Path, bit: int) -> None:
    """Change one bit of a file where it lies, whatever its mode, and leave its times as they are."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    mode = status.st_mode & 0o7777
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(data)
    path.chmod(mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def separate(path: Path) -> None:
    """Make ``path`` a file of its own, as tools do that copy a target without its hard links."""
    copy = path.with_name(f"{path.name[:40]}.copy")
    shutil.copy2(path, copy)
    copy.replace(path)
