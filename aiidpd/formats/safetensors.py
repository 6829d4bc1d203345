"""Header of a safetensors file, read a tensor at a time; the index of a model in several files."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiidpd.formats.damage import HEAD_BYTES, Damage, Malformed, damage_of_head
from aiidpd.formats.json_stream import JsonStream
from aiidpd.formats.model_files import TypeShare
from aiidpd.formats.stream import Cursor, Source, opened
from aiidpd.formats.tensors import shares, size_damage, total_bytes

HEADER_LIMIT_BYTES: Final = 100_000_000
"""As the reference implementation has it."""
INDEX_LIMIT_BYTES: Final = 128 * 1024**2
TENSOR_LIMIT: Final = 256 * 1024
INDEX_TENSOR_LIMIT: Final = 2 * TENSOR_LIMIT
FILE_LIMIT: Final = 4096
"""Files of one index."""
INDEX_KEY_LIMIT: Final = 64
NAME_LIMIT_BYTES: Final = 4096
METADATA_LIMIT: Final = 1024
TEXT_LIMIT_BYTES: Final = 1024
"""Longer values of metadata are passed over."""
_ENTRY_LIMIT_BYTES: Final = 4096
_DIMENSIONS: Final = 64
_LENGTH_BYTES: Final = 8
_COUNT_LIMIT: Final = 2**63

BITS: Final[dict[str, int]] = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Bits of an element of each type."""


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """Header of one safetensors file."""

    types: tuple[TypeShare, ...]
    """Types of its tensors, the largest first."""
    metadata: Mapping[str, str]
    """Texts of ``__metadata__`` that are short."""
    expert_elements: int
    expert_bytes: int | None
    lookup_bytes: int
    """Bytes of embeddings."""
    has_output: bool
    """True where a tensor of its own makes tokens of the last hidden state."""
    data_offset: int
    """Offset of the data of tensors."""
    expected_bytes: int
    """Size that the file has exactly."""

    @property
    def tensor_count(self) -> int:
        """Return the number of tensors in this file."""
        return sum(share.tensors for share in self.types)

    @property
    def elements(self) -> int:
        """Return the elements of all tensors: its parameters, unless several are packed into one."""
        return sum(share.elements for share in self.types)

    @property
    def tensor_bytes(self) -> int:
        """Return the bytes of the tensors in this file."""
        return self.expected_bytes - self.data_offset

    def damage(self, size_bytes: int) -> tuple[Damage, str] | None:
        """Return the damage that a file of ``size_bytes`` with this header has, with the reason."""
        return size_damage(size_bytes, self.expected_bytes, 1)


def read_header(source: Source) -> SafetensorsHeader:
    """Read the header of a safetensors file.

    Raises :class:`Malformed` with the damage that shows in it, and :class:`OSError`. Blocks. Nothing beyond
    the header is read: ``damage`` of what is returned compares it with the size of the file.
    """
    with opened(source) as stream:
        return _Reader(Cursor(stream, _LENGTH_BYTES + HEADER_LIMIT_BYTES)).read()


@dataclass(frozen=True, slots=True)
class SafetensorsIndex:
    """Index of a model in several files."""

    tensor_count: int
    tensor_bytes: int | None
    """``total_size`` of its metadata."""
    parameters: int | None
    """``total_parameters`` of its metadata, which newer files have."""
    files: tuple[str, ...]
    """Names of the files, sorted."""


def read_index(source: Source) -> SafetensorsIndex:
    """Read a ``model.safetensors.index.json``; raises :class:`Malformed` and :class:`OSError`. Blocks."""
    with opened(source) as stream:
        cursor = Cursor(stream, INDEX_LIMIT_BYTES)
        json = _begun(cursor, None)
        tensors, files, totals = 0, set[str](), dict[str, Any]()
        for key in json.keys(NAME_LIMIT_BYTES, INDEX_KEY_LIMIT):
            if key == "weight_map":
                json.expect(b"{")
                for _ in json.keys(NAME_LIMIT_BYTES, INDEX_TENSOR_LIMIT):
                    tensors += 1
                    files.add(_file_name(json))
                    if len(files) > FILE_LIMIT:
                        raise Malformed(Damage.TOO_LARGE, f"its index names more than {FILE_LIMIT} files")
            elif key == "metadata":
                value = json.value(_ENTRY_LIMIT_BYTES)
                totals = value if isinstance(value, dict) else {}
            else:
                json.skip()
        if not files:
            json.fail("its index names no file")
        total, parameters = _count(totals.get("total_size")), _count(totals.get("total_parameters"))
        return SafetensorsIndex(tensors, total, parameters, tuple(sorted(files)))


def _begun(cursor: Cursor, end: int | None) -> JsonStream:
    json = JsonStream(cursor, end)
    if end is None:
        cursor.more()
        damage = damage_of_head(cursor.buffer[:HEAD_BYTES], text=True)
        if damage is not None:
            raise Malformed(damage, damage.sentence)
    json.expect(b"{")
    return json


def _file_name(json: JsonStream) -> str:
    name = json.text(NAME_LIMIT_BYTES)
    if not name or name.startswith("/") or "\0" in name or ".." in name.split("/"):
        json.fail("its index names a file outside of the model")
    return name


def _count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():  # older writers divide
        value = int(value)
    return value if type(value) is int and 0 <= value <= _COUNT_LIMIT else None


class _Reader:
    """Reads one header."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._names: set[int] = set()
        self._metadata: dict[str, str] = {}
        self._tally: dict[str, list[int]] = {}
        self._experts = [0, 0]
        self._lookup = 0
        self._has_output = False
        self._begins, self._ends = array("Q"), array("Q")

    def read(self) -> SafetensorsHeader:
        length = self._begin()
        data_offset = _LENGTH_BYTES + length
        self._cursor.check(length)
        json = JsonStream(self._cursor, data_offset)
        json.expect(b"{")
        for name in json.keys(NAME_LIMIT_BYTES, TENSOR_LIMIT + 1):
            if name == "__metadata__":
                self._read_metadata(json)
            else:
                self._tensor(json, name)
        if json.next():
            json.fail("something follows its header")
        types = shares(self._tally, frozenset())
        return SafetensorsHeader(
            types=types,
            metadata=self._metadata,
            expert_elements=self._experts[0],
            expert_bytes=self._experts[1],
            lookup_bytes=self._lookup,
            has_output=self._has_output,
            data_offset=data_offset,
            expected_bytes=data_offset + self._end(total_bytes(types) or 0),
        )

    def _begin(self) -> int:
        cursor = self._cursor
        while len(cursor.buffer) < HEAD_BYTES and cursor.more():
            pass
        head = cursor.buffer[:HEAD_BYTES]
        damage = damage_of_head(head)
        if damage is not None:
            raise Malformed(damage, damage.sentence)
        (length,) = struct.unpack("<Q", cursor.take(_LENGTH_BYTES))
        if head[_LENGTH_BYTES:][:1] not in (b"{", b""):
            zeros = Damage.WRONG_MAGIC if any(head[_LENGTH_BYTES:]) else Damage.ZEROED
            raise Malformed(zeros, "no header follows the length of one")
        if length > HEADER_LIMIT_BYTES:
            raise Malformed(Damage.TOO_LARGE, f"it claims a header of {length} bytes")
        return int(length)

    def _read_metadata(self, json: JsonStream) -> None:
        json.expect(b"{")
        for key in json.keys(NAME_LIMIT_BYTES, METADATA_LIMIT):
            if json.next() != b'"':
                json.fail("its metadata has a value that is no text")
            text = json.short_text(TEXT_LIMIT_BYTES)
            if text is not None:
                self._metadata[key] = text

    def _tensor(self, json: JsonStream, name: str) -> None:
        entry = json.value(_ENTRY_LIMIT_BYTES)
        try:
            kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        except (TypeError, KeyError, ValueError, IndexError):
            json.fail("an entry of a tensor lacks type, shape or place")
        bits = BITS.get(kind) if isinstance(kind, str) else None
        if bits is None:
            raise Malformed(Damage.MALFORMED, f"type {str(kind)[:40]!r} of a tensor is not known")
        numbers = [*shape, begin, end] if isinstance(shape, list) else [None]
        if len(numbers) > _DIMENSIONS or any(_count(n) is None or type(n) is not int for n in numbers):
            json.fail("a shape or place of a tensor is no list of counts")
        elements = 1
        for length in shape:
            elements *= length
        if elements * bits % 8 or elements * bits // 8 != end - begin:
            json.fail("a tensor has not the size that its shape needs")
        self._names.add(hash(name))
        self._begins.append(begin)
        self._ends.append(end)
        if len(self._names) != len(self._begins):
            json.fail("a tensor is there twice")
        tally = self._tally.setdefault(kind, [0, 0, 0])
        for index, more in enumerate((1, elements, end - begin)):
            tally[index] += more
        if ".experts." in name:
            self._experts[0] += elements
            self._experts[1] += end - begin
        if name.endswith(("embed_tokens.weight", "wte.weight", "word_embeddings.weight")):
            self._lookup += end - begin
        self._has_output |= name.endswith("lm_head.weight")

    def _end(self, size: int) -> int:
        """Return where the data ends; tensors must cover it without gaps."""
        reached = 0
        for begin, end in sorted(zip(self._begins, self._ends, strict=True)):
            if begin != reached:
                raise Malformed(Damage.MALFORMED, "its tensors overlap or leave gaps")
            reached = end
        if reached != size:
            raise Malformed(Damage.MALFORMED, "its tensors overlap or leave gaps")
        return reached
