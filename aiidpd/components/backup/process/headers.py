"""Headers of model files, read as far as a drill needs it: is it what its name says?"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Final, Protocol

_LARGEST_HEADER: Final = 100 * 1024 * 1024  # bytes, of safetensors: its own reader's bound
_GGUF: Final = b"GGUF"
_GGUF_VERSIONS: Final = (1, 2, 3)


class HeaderReader(Protocol):
    """Function that opens a file as whoever loads it would."""

    def __call__(self, path: Path) -> str:
        """Return what kind of file ``path`` is; raises :class:`ValueError` where it can't be loaded."""
        ...


def read_header(path: Path) -> str:
    """Return "GGUF", "safetensors" or "opaque", by the first bytes of a file.

    Raises :class:`ValueError` where a name says that it is one of the former and the bytes do not, and
    :class:`OSError`.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        if head[:4] == _GGUF:
            (version,) = struct.unpack("<I", head[4:].ljust(4, b"\0"))
            if version not in _GGUF_VERSIONS:
                raise ValueError(f"it is GGUF of version {version}, which nobody knows")
            return "GGUF"
        if path.suffix == ".gguf":
            raise ValueError("it has no header of GGUF")
        if path.suffix != ".safetensors":
            return "opaque"
        length = int.from_bytes(head, "little")
        if len(head) < 8 or length > min(size - 8, _LARGEST_HEADER):  # noqa: PLR2004 -- the format's
            raise ValueError("its header is longer than the file, or than any")
        header = file.read(length)
    try:
        document = json.loads(header)
    except (ValueError, RecursionError):
        raise ValueError("its header is no JSON") from None
    if not isinstance(document, dict):
        raise ValueError("its header is no JSON object")  # noqa: TRY004 -- data
    return "safetensors"
