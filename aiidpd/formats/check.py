"""Structural check of one model file: its header against itself and against its size, with no hash."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from aiidpd.formats import gguf, safetensors
from aiidpd.formats.damage import HEAD_BYTES, Damage, Malformed, damage_of_head
from aiidpd.formats.gguf import GgufHeader
from aiidpd.formats.model_files import PART_SUFFIXES
from aiidpd.formats.safetensors import SafetensorsHeader
from aiidpd.formats.stream import opened, read_head, size_of

_WEIGHTS: Final = (".bin", ".pt", ".pth", ".onnx", ".npz", ".ckpt", ".model", ".msgpack", ".h5", ".tflite")


@dataclass(frozen=True, slots=True)
class FileCheck:
    """Outcome of a check."""

    size_bytes: int
    damage: Damage | None = None
    reason: str = ""
    """Sentence for people where it is damaged."""
    header: GgufHeader | SafetensorsHeader | None = None
    """Header of a GGUF or safetensors file, where it could be read."""
    expected_bytes: int | None = None


def check_file(path: str | os.PathLike[str], name: str = "") -> FileCheck:
    """Check the file at ``path``, whose format its ``name`` shows where a cache calls it otherwise.

    A file of another format is checked for pages, pointers and zeros in its place. Blocks for the time of
    reading a header; raises :class:`OSError`, but of a file that is not there.
    """
    name = (name or os.fspath(path)).rpartition("/")[2].lower()
    try:
        with opened(path) as stream:
            size = size_of(stream) or 0
            if name.endswith(PART_SUFFIXES):
                return _damaged(size, Damage.INCOMPLETE)
            head, _ = read_head(stream, HEAD_BYTES)
            stream.seek(0)
            if head.startswith(gguf.MAGIC) or name.endswith(".gguf"):
                return _judged(gguf.read_header(stream), size)
            if name.endswith(".safetensors"):
                return _judged(safetensors.read_header(stream), size)
            damage = _of_other(head, name)
            return FileCheck(size) if damage is None else _damaged(size, damage)
    except FileNotFoundError:
        return _damaged(0, Damage.MISSING)
    except Malformed as error:
        return _damaged(size_or_zero(path), error.damage, error.reason)


def size_or_zero(path: str | os.PathLike[str]) -> int:
    """Return the size of the file at ``path``, links followed; 0 where it can't be known."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 -- a path may be any bytes
    except OSError:
        return 0


def _judged(header: GgufHeader | SafetensorsHeader, size: int) -> FileCheck:
    damage = header.damage(size)
    if damage is None:
        return FileCheck(size, header=header, expected_bytes=header.expected_bytes)
    kind, figures = damage
    return FileCheck(size, kind, _sentence(kind, figures), header, header.expected_bytes)


def _of_other(head: bytes, name: str) -> Damage | None:
    weights = name.endswith(_WEIGHTS)
    damage = damage_of_head(head, text=not weights)
    if damage is Damage.ZEROED and name.endswith(".bin") and "model" not in name:
        return None  # plain numbers, some of them zero
    return damage if weights or name.endswith(".json") or damage is Damage.LFS_POINTER else None


def _damaged(size: int, damage: Damage, reason: str = "") -> FileCheck:
    return FileCheck(size, damage, _sentence(damage, reason))


def _sentence(damage: Damage, reason: str) -> str:
    return f"{damage.sentence} ({reason})" if reason and reason != damage.sentence else damage.sentence
