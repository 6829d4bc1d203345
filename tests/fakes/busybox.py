"""Root of a small container: busybox, and links to it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

_APPLETS = ("sh", "sleep", "test", "touch", "rm", "dd")


def root_archive(busybox: Path) -> bytes:
    """Return a tar archive that holds ``busybox`` (static), for ``docker import``."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return archive.getvalue()
