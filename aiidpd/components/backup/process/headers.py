"""Headers of model files, as a drill reads them: is a file what its name says?"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from aiidpd.formats.check import check_file
from aiidpd.formats.gguf import GgufHeader


class HeaderReader(Protocol):
    """Function that opens a file as whoever loads it would."""

    def __call__(self, path: Path) -> str:
        """Return what kind of file ``path`` is; raises :class:`ValueError` where it can't be loaded."""
        ...


def read_header(path: Path) -> str:
    """Return "GGUF", "safetensors" or "opaque", by what a file has at its beginning.

    Raises :class:`ValueError` where it is not what its name says, and :class:`OSError`.
    """
    found = check_file(path)
    if found.damage is not None:
        raise ValueError(found.reason or found.damage.sentence)
    if found.header is None:
        return "opaque"
    return "GGUF" if isinstance(found.header, GgufHeader) else "safetensors"
