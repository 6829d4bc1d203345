"""Folders that are searched, and the file systems that they lie on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiidpd.components.models.scanned import Space

_OF_THE_MACHINE: Final = (
    "/usr/share/ollama/.ollama/models",
    "/var/lib/ollama/models",
    "/var/lib/ollama/.ollama/models",
    "/mnt/models",
    "/srv/models",
)
_OF_A_USER: Final = (
    ".cache/huggingface/hub",
    ".cache/modelscope/hub",
    ".cache/llama.cpp",
    ".ollama/models",
    ".lmstudio/models",
)
_MOST_HOMES: Final = 200


def usual_folders(environ: Mapping[str, str], root: Path = Path("/")) -> tuple[Path, ...]:
    """Return the usual caches below ``root`` that are there and can be listed, each once. Blocks."""
    found: dict[str, Path] = {}
    for path in _candidates(environ, root):
        try:
            there = path.is_dir() and os.access(path, os.R_OK | os.X_OK)
            real = os.path.realpath(path)
        except OSError:
            continue
        if there:
            found.setdefault(real, path)
    return tuple(found.values())


def _candidates(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    if cache := environ.get("HF_HUB_CACHE"):
        yield Path(cache)
    if home := environ.get("HF_HOME"):
        yield Path(home, "hub")
    if models := environ.get("OLLAMA_MODELS"):
        yield Path(models)
    for at in _OF_THE_MACHINE:
        yield root / at.lstrip("/")
    homes = [Path(environ["HOME"])] if environ.get("HOME", "").startswith("/") else []
    homes.append(root / "root")
    with suppress(OSError):
        homes += sorted((root / "home").iterdir())[:_MOST_HOMES]
    for each in homes:
        for below in _OF_A_USER:
            yield each / below


def mount_of(path: Path) -> tuple[str, int]:
    """Return where the file system of ``path`` is mounted, and its device. Blocks; may raise OSError."""
    path = path.resolve()
    device = path.stat().st_dev
    while path != path.parent and path.parent.stat().st_dev == device:
        path = path.parent
    return str(path), device


def spaces_of(folders: Iterable[Path]) -> tuple[Space, ...]:
    """Return the file systems of ``folders``, each once; those that can't be read are left out. Blocks."""
    found: dict[int, Space] = {}
    for folder in folders:
        try:
            mount, device = mount_of(folder)
            if device not in found:
                space = os.statvfs(mount)
                found[device] = Space(
                    mount, device, space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
                )
        except OSError:
            continue
    return tuple(found.values())
