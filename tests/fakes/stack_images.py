"""Images for the shipped stack without a registry: of busybox, or with a real llama-server or Prometheus.

What they have of the real images is what the stack relies on: programs of the health checks, owners of the
folders that volumes take, paths of the servers.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from pathlib import Path

_APPLETS = ("sh", "sleep", "touch", "cat", "cp", "id", "test", "grep", "wget", "httpd", "chmod", "env")
_CHECK = rb"""#!/bin/sh
# Fetches the address in its words, as a health check of the stack does.
url=$(echo "$*" | busybox sed -E 's/.*(http:[^" ]*).*/\1/')
exec wget -q -O /dev/null "$url"
"""
_HEALTH = ("health", "-/healthy", "api/health")
FOLDERS = {"home/vllm": 2000, "prometheus": 65534, "alertmanager": 65534, "var/lib/grafana": 472}
"""Folders that the real images have for their users, with the owner."""
_LIBRARY = re.compile(r"(/\S+) \(0x")


class _Root:
    """A tar archive for `docker import`."""

    def __init__(self, busybox: Path) -> None:
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w")  # noqa: SIM115 -- closed in `done`
        self._has: set[str] = set()
        self.file(busybox, "bin/busybox")
        for applet in (*_APPLETS, "sed", "echo"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            self._tar.addfile(link)
        for program in ("curl", "python3"):
            self.content(f"bin/{program}", _CHECK, mode=0o755)
        self.folder("tmp", 0, 0o1777)

    def file(self, source: Path, name: str) -> None:
        if name not in self._has:
            self._has.add(name)
            self._tar.add(source.resolve(), name)

    def content(self, name: str, content: bytes, mode: int = 0o644) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), mode
        self._tar.addfile(entry, io.BytesIO(content))

    def folder(self, name: str, owner: int, mode: int = 0o755) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.uid, entry.gid, entry.mode = tarfile.DIRTYPE, owner, owner, mode
        self._tar.addfile(entry)

    def libraries(self, program: Path) -> None:
        """Add the libraries that ``program`` needs and that do not lie beside it; a static one needs none."""
        done = subprocess.run(["ldd", program], check=False, capture_output=True, text=True)
        for library in _LIBRARY.findall(done.stdout):
            if Path(library).resolve().parent != program.parent.resolve():
                self.file(Path(library), library.lstrip("/"))

    def done(self) -> bytes:
        self._tar.close()
        return self._bytes.getvalue()


def stand_in(busybox: Path) -> bytes:
    """Return the root of a server that answers health checks and nothing else."""
    root = _Root(busybox)
    for name in _HEALTH:
        root.content(f"www/{name}", b"ok\n")
    for name, owner in FOLDERS.items():
        root.folder(name, owner)
    return root.done()


def llama(busybox: Path, server: Path) -> bytes:
    """Return the root of a llama-server, with the libraries that it needs of this machine."""
    root = _Root(busybox)
    own = [server, *server.parent.glob("*.so*")]
    for each in own:
        root.file(each, f"app/{each.name}")
    for each in own:
        root.libraries(each)
    return root.done()


def prometheus(busybox: Path, program: Path) -> bytes:
    """Return the root of a Prometheus, with the libraries that it needs of this machine."""
    root = _Root(busybox)
    root.file(program, "bin/prometheus")
    root.libraries(program)
    for name, owner in FOLDERS.items():
        root.folder(name, owner)
    return root.done()
