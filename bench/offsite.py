"""Sending a snapshot elsewhere by restic and rclone: first, unchanged, 1 % changed; verified; restored.

    python -m bench.offsite [--mib 1024] [--folder /tmp]

Beside each stands the program called by hand with the same work: what our part of it costs. The repository
lies on the same disk, so this is what the programs do and no network.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import anyio
from pydantic import SecretStr

from aiidpd.components.backup.offsite.local import LocalSnapshot
from aiidpd.components.backup.offsite.open import opener
from aiidpd.components.backup.offsite.result import Sign
from aiidpd.components.backup.offsite.settings import OffsiteSettings, RepositorySettings
from aiidpd.kernel.clock import SystemClock

MIB = 2**20
FILES = 8
PASSWORD = "bench"


def make_snapshot(folder: Path, mib: int) -> LocalSnapshot:
    """Make a folder like a snapshot, with its checksums."""
    files = folder / "files"
    files.mkdir(parents=True)
    for number in range(FILES):
        with (files / f"{number}.bin").open("wb") as file:
            for _ in range(mib // FILES):
                file.write(os.urandom(MIB))
    make_sums(folder)
    return LocalSnapshot(folder.name, folder, time.time())


def next_snapshot(before: LocalSnapshot, name: str, changed: int) -> LocalSnapshot:
    """Make the snapshot after ``before``: hard links, and ``changed`` bytes of one file written anew."""
    folder = before.folder.with_name(name)
    shutil.copytree(before.folder, folder, copy_function=os.link)
    if changed:
        path = folder / "files/0.bin"
        data = bytearray(path.read_bytes())
        data[:changed] = os.urandom(changed)
        path.unlink()
        path.write_bytes(data)
        (folder / "SHA256SUMS").unlink()
        make_sums(folder)
    return LocalSnapshot(name, folder, time.time())


def make_sums(folder: Path) -> None:
    """Write the checksums of ``folder``."""
    command = ["sha256sum", *(f"files/{number}.bin" for number in range(FILES))]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    (folder / "SHA256SUMS").write_bytes(done.stdout)


def report(name: str, seconds: float, mib: float, more: str = "") -> None:
    """Print a line of the table."""
    print(f"| {name} | {seconds:.2f} | {mib / seconds:.0f} | {more} |", flush=True)


async def measure(engine: str, root: Path, mib: int) -> None:
    """Print the lines of ``engine``."""
    config = root / "rclone.conf"
    config.write_text("[disk]\ntype = local\n")
    place = root / "there"
    repository = RepositorySettings.model_validate(
        {
            "name": "far",
            "engine": engine,
            "repository": str(place) if engine == "restic" else f"disk:{place}",
            "rclone_config": str(config),
        }
        | ({"password": SecretStr(PASSWORD)} if engine == "restic" else {})
    )
    table = OffsiteSettings(repositories=(repository,))
    far = opener(lambda: table, directory=root / "state", host="bench", clock=SystemClock())(repository)

    def watch(_sign: Sign) -> None:
        """Take no notice."""

    first = make_snapshot(root / "snapshots" / "A", mib)
    os.sync()
    await far.create()
    for name, snapshot in (
        ("first", first),
        ("unchanged", next_snapshot(first, "B", 0)),
        ("1 % changed", next_snapshot(first, "C", mib * MIB // 100)),
    ):
        began = time.monotonic()
        sent = await far.send(snapshot, watch)
        report(f"{engine}: {name}", time.monotonic() - began, mib, f"{sent.new_bytes / MIB:.1f} MiB new")
    last = LocalSnapshot("C", root / "snapshots/C", 0.0)
    for part, parts in ((1, 10), (1, 1)):
        began = time.monotonic()
        found = await far.check(last, part, parts, watch)
        read = f"{found.read} of {found.total} {found.unit}"
        report(f"{engine}: verified, part 1 of {parts}", time.monotonic() - began, mib / parts, read)
    out = root / "out"
    out.mkdir()
    began = time.monotonic()
    restored = await far.restore(out, watch)
    proven = "each file proven by sha256sum" if restored.proven else ""
    report(f"{engine}: restored", time.monotonic() - began, mib, proven)
    by_hand(engine, root, last.folder, mib)


def by_hand(engine: str, root: Path, folder: Path, mib: int) -> None:
    """Print how long the program alone takes for the first upload, called as a person would."""
    environment = {
        **os.environ,
        "RESTIC_PASSWORD": PASSWORD,
        "RESTIC_REPOSITORY": str(root / "hand"),
        "RESTIC_CACHE_DIR": str(root / "hand-cache"),
    }
    if engine == "restic":
        subprocess.run(["restic", "init", "-q"], env=environment, check=True)
        command = ["restic", "backup", "-q", "."]
    else:
        command = ["rclone", "copy", "-q", ".", str(root / "hand")]
    began = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True)
    report(f"{engine} by hand: first", time.monotonic() - began, mib)


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    print("| work | s | MiB/s | |\n| --- | ---: | ---: | --- |")
    for engine in ("restic", "rclone"):
        with tempfile.TemporaryDirectory(dir=options.folder) as root:
            anyio.run(measure, engine, Path(root), options.mib)


if __name__ == "__main__":
    main()
