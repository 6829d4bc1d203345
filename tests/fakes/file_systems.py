"""File systems of their own, each in a file on a loop device."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAKE = {
    "xfs": ["mkfs.xfs", "-q"],
    "btrfs": ["mkfs.btrfs", "-q"],
    "ext4": ["mkfs.ext4", "-q", "-F"],
}
HOW_TO_GET = "be root, with loop devices, and apt-get install xfsprogs btrfs-progs e2fsprogs"


@contextmanager
def mounted(kind: str, folder: Path, mebibytes: int = 512) -> Iterator[Path | None]:
    """Yield where a new file system of ``kind`` is mounted; None where that is not possible here."""
    image, point = folder / f"{kind}.image", folder / kind
    point.mkdir()
    make = _MAKE[kind]
    if shutil.which(make[0]) is None:
        yield None
        return
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    try:
        subprocess.run([*make, str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        image.unlink()
        yield None
        return
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)
        image.unlink()
