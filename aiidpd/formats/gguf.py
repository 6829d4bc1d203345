"""Header of a GGUF file, versions 1 to 3 of either byte order: bounded in memory and time.

Vocabularies and other big arrays are passed over; only their lengths are returned.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiidpd.formats.damage import HEAD_BYTES, Damage, Malformed, damage_of_head
from aiidpd.formats.ggml import FILE_TYPES, TENSOR_TYPES
from aiidpd.formats.model_files import ModelFacts, TypeShare
from aiidpd.formats.stream import Cursor, Source, opened
from aiidpd.formats.tensors import aligned, shares, size_damage, total_bytes

MAGIC: Final = b"GGUF"
VERSIONS: Final = (1, 2, 3)

HEADER_LIMIT_BYTES: Final = 64 * 1024**2
"""A header of the largest vocabularies has 16 MiB."""
KEY_LIMIT: Final = 4096
TENSOR_LIMIT: Final = 128 * 1024
NAME_LIMIT_BYTES: Final = 1024
TEXT_LIMIT_BYTES: Final = 1024
"""Longer texts, such as chat templates, are not returned."""
ARRAY_LIMIT: Final = 512
"""Longer arrays are passed over; so are those of texts."""
_ARRAYS_LIMIT: Final = 32 * ARRAY_LIMIT  # elements of all arrays that are returned
_DIMENSIONS: Final = 4
_DEPTH: Final = 4
_NESTED_LIMIT: Final = 4096  # llama.cpp has no arrays of arrays at all
_TYPES_LIMIT: Final = 256
_ELEMENTS_LIMIT: Final = 2**63
_DEFAULT_ALIGNMENT: Final = 32
_GUESSED: Final = 1024  # a bit of general.file_type

_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS: Final = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip

Value = bool | int | float | str | tuple[bool | int | float, ...]


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Header of one GGUF file."""

    version: int
    big_endian: bool
    values: Mapping[str, Value]
    """Values of keys: numbers, short texts, short arrays of numbers."""
    array_lengths: Mapping[str, int]
    """Lengths of all arrays."""
    types: tuple[TypeShare, ...]
    """Types of its tensors, the largest first."""
    expert_elements: int
    expert_bytes: int | None
    lookup_bytes: int | None
    """Bytes of embeddings; None where their type is not known."""
    has_output: bool
    """True where a tensor of its own makes tokens of the last hidden state."""
    alignment: int
    header_bytes: int
    """Bytes up to the end of the table of tensors."""
    data_offset: int
    """Offset of the data of tensors: the end of the header, aligned."""
    expected_bytes: int
    """Size that the file has at least: up to the end of its last tensor of a known type."""
    exact: bool
    """True where all types are known, so that the file ends there, or at the next alignment."""

    @property
    def tensor_count(self) -> int:
        """Return the number of tensors in this file."""
        return sum(share.tensors for share in self.types)

    @property
    def tensor_bytes(self) -> int | None:
        """Return the bytes of the tensors in this file; None where a type is not known."""
        return total_bytes(self.types)

    @property
    def architecture(self) -> str:
        """Return ``general.architecture``, or an empty text."""
        return self._text("general.architecture")

    @property
    def split(self) -> tuple[int, int] | None:
        """Return number and count of this part, counted from 1; None of a file that is not split."""
        number, count = self._number("split.no"), self._number("split.count")
        return None if number is None or count is None or count < 1 else (number + 1, count)

    @property
    def split_tensors(self) -> int | None:
        """Return the number of tensors that all parts of a split file have together."""
        return self._number("split.tensors.count")

    @property
    def file_type(self) -> str:
        """Return the name of the mix that the file says to have, or an empty text."""
        number = self._number("general.file_type")
        return "" if number is None else FILE_TYPES.get(number & ~_GUESSED, "")

    def facts(self) -> ModelFacts:
        """Return what the header states; of a split file the first part has the keys, each its tensors."""
        elements = sum(share.elements for share in self.types)
        by_block = self._by_block("attention.head_count_kv")
        embedding, heads = (
            self._of_architecture("embedding_length"),
            self._of_architecture("attention.head_count"),
        )
        length = (
            embedding // heads if embedding and heads else None
        )  # as llama.cpp has it where none is stated
        return ModelFacts(
            format="gguf",
            architecture=self.architecture,
            name=self._text("general.name"),
            parameters=elements if self.types else None,
            quantization=self.file_type or (self.types[0].name if self.types else ""),
            types=self.types,
            context_length=self._of_architecture("context_length"),
            block_count=self._of_architecture("block_count"),
            embedding_length=embedding,
            head_count=heads,
            kv_head_count=self._first("attention.head_count_kv", heads),
            kv_heads_by_block=by_block if len(set(by_block)) > 1 else (),
            key_length=self._first("attention.key_length", length),
            value_length=self._first("attention.value_length", length),
            vocabulary=self.array_lengths.get("tokenizer.ggml.tokens") or self._of_architecture("vocab_size"),
            sliding_window=self._of_architecture("attention.sliding_window"),
            expert_count=self._of_architecture("expert_count"),
            expert_used_count=self._of_architecture("expert_used_count"),
            expert_parameters=self.expert_elements or None,
            expert_bytes=self.expert_bytes or None,
            tensor_count=self.tensor_count,
            tensor_bytes=self.tensor_bytes,
            lookup_bytes=(self.lookup_bytes if self.has_output else 0) if self.types else None,
            kv_lora_rank=self._of_architecture("attention.kv_lora_rank") or None,
            rope_length=self._of_architecture("rope.dimension_count") or None,
        )

    def damage(self, size_bytes: int) -> tuple[Damage, str] | None:
        """Return the damage that a file of ``size_bytes`` with this header has, with the reason."""
        return size_damage(size_bytes, self.expected_bytes, self.alignment if self.exact else None)

    def _text(self, key: str) -> str:
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def _number(self, key: str) -> int | None:
        value = self.values.get(key)
        if isinstance(value, tuple):
            value = max(value, default=None)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    def _of_architecture(self, key: str) -> int | None:
        """Return a number that may differ from block to block: then the largest."""
        return self._number(f"{self.architecture}.{key}")

    def _first(self, key: str, default: int | None) -> int | None:
        stated = self._of_architecture(key)
        return default if stated is None else stated

    def _by_block(self, key: str) -> tuple[int, ...]:
        value = self.values.get(f"{self.architecture}.{key}")
        return tuple(n for n in value if isinstance(n, int)) if isinstance(value, tuple) else ()


def read_header(source: Source) -> GgufHeader:
    """Read the header of a GGUF file.

    Raises :class:`Malformed` with the damage that shows in it, and :class:`OSError`. Blocks. Nothing beyond
    the header is read: ``damage`` of what is returned compares it with the size of the file.
    """
    with opened(source) as stream:
        return _Reader(Cursor(stream, HEADER_LIMIT_BYTES)).read()


class _Reader:
    """Reads one header."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._order = "<"
        self._long = "Q"  # counts and lengths; version 1 had 32 bits of each
        self._values: dict[str, Value] = {}
        self._lengths: dict[str, int] = {}
        self._room = _ARRAYS_LIMIT
        self._nested = 0
        self._tally: dict[str, list[int]] = {}
        self._unknown: set[str] = set()
        self._experts = [0, 0]
        self._experts_known = True
        self._lookup: int | None = 0
        self._has_output = False

    def read(self) -> GgufHeader:
        version = self._begin()
        tensors, keys = self._unpack(self._long * 2)
        if keys > KEY_LIMIT:
            raise Malformed(Damage.TOO_LARGE, f"it claims {keys} keys, more than {KEY_LIMIT}")
        if tensors > TENSOR_LIMIT:
            raise Malformed(Damage.TOO_LARGE, f"it claims {tensors} tensors, more than {TENSOR_LIMIT}")
        for _ in range(keys):
            self._key()
        alignment = self._alignment()
        end = self._tensors(tensors, alignment)
        header_bytes = self._cursor.offset
        data_offset = aligned(header_bytes, alignment)
        unknown = frozenset(self._unknown)
        return GgufHeader(
            version=version,
            big_endian=self._order == ">",
            values=self._values,
            array_lengths=self._lengths,
            types=shares(self._tally, unknown),
            expert_elements=self._experts[0],
            expert_bytes=self._experts[1] if self._experts_known else None,
            lookup_bytes=self._lookup,
            has_output=self._has_output,
            alignment=alignment,
            header_bytes=header_bytes,
            data_offset=data_offset,
            expected_bytes=data_offset + end if end else header_bytes,
            exact=not unknown,
        )

    def _begin(self) -> int:
        cursor = self._cursor
        while len(cursor.buffer) < HEAD_BYTES and cursor.more():
            pass
        damage = damage_of_head(cursor.buffer[:HEAD_BYTES], magic=MAGIC)
        if damage is not None:
            raise Malformed(damage, damage.sentence)
        cursor.take(len(MAGIC))
        (version,) = self._unpack("I")
        if version and not version & 0xFFFF:  # small numbers of the other byte order
            self._order = ">"
            version = int.from_bytes(version.to_bytes(4, "little"), "big")
        if version not in VERSIONS:
            raise Malformed(
                Damage.MALFORMED, f"version {version} of GGUF is not known: update aiidpd, or the file"
            )
        if version == 1:
            self._long = "I"
        return version

    def _unpack(self, codes: str) -> tuple[int, ...]:
        pattern = self._order + codes
        return struct.unpack(pattern, self._cursor.take(struct.calcsize(pattern)))

    def _string(self, limit: int) -> bytes | None:
        """Return a string; None where it is longer than ``limit``."""
        (length,) = self._unpack(self._long)
        if length > limit:
            self._cursor.skip(length)
            return None
        return self._cursor.take(length)

    def _name(self, of: str) -> bytes:
        name = self._string(NAME_LIMIT_BYTES)
        if not name:
            raise Malformed(Damage.MALFORMED, f"a name of a {of} is {'empty' if name == b'' else 'too long'}")
        return name

    def _key(self) -> None:
        key = self._name("key").decode("utf-8", "replace")
        if key in self._values or key in self._lengths:
            raise Malformed(Damage.MALFORMED, f"its key {key[:80]!r} is there twice")
        (kind,) = self._unpack("I")
        if kind == _ARRAY:
            self._array(key)
        elif kind == _STRING:
            text = self._string(TEXT_LIMIT_BYTES)
            self._values[key] = "" if text is None else text.decode("utf-8", "replace")
        else:
            self._values[key] = self._scalars(kind, 1)[0]

    def _scalars(self, kind: int, count: int) -> tuple[bool | int | float, ...]:
        code = _SCALARS.get(kind)
        if code is None:
            raise Malformed(Damage.MALFORMED, f"type {kind} of a value is not known")
        values = self._unpack(f"{count}{code}")
        return tuple(bool(value) for value in values) if kind == _BOOL else values

    def _array(self, key: str, depth: int = 0) -> None:
        (kind,) = self._unpack("I")
        (count,) = self._unpack(self._long)
        if depth == 0:
            self._lengths[key] = count
        if kind in _SCALARS:
            if depth == 0 and count <= min(ARRAY_LIMIT, self._room):
                self._room -= count
                self._values[key] = self._scalars(kind, count)
            else:
                self._cursor.skip(count * struct.calcsize("=" + _SCALARS[kind]))
        elif kind == _STRING:
            self._skip_strings(count)
        elif kind == _ARRAY and depth < _DEPTH:
            self._nested += count
            if self._nested > _NESTED_LIMIT:
                raise Malformed(Damage.TOO_LARGE, f"it nests more than {_NESTED_LIMIT} arrays")
            for _ in range(count):
                self._array(key, depth + 1)
        else:
            raise Malformed(Damage.MALFORMED, f"type {kind} of an array is not known")

    def _skip_strings(self, count: int) -> None:
        cursor = self._cursor
        length_of = struct.Struct(self._order + self._long)
        unpack, width = length_of.unpack_from, length_of.size
        cursor.check(count * width)
        while count:
            buffer, at = cursor.buffer, cursor.at
            last = len(buffer) - width
            while count and at <= last:
                at += width + unpack(buffer, at)[0]
                count -= 1
            # The last string may end beyond the buffer, or the next length may.
            over = at - len(buffer)
            if over > 0:
                cursor.at = len(buffer)
                cursor.skip(over)
            else:
                cursor.at = at
            if count:
                cursor.need(width)

    def _alignment(self) -> int:
        alignment = self._values.get("general.alignment", _DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
            raise Malformed(Damage.MALFORMED, "its alignment is no power of two")
        return alignment

    def _tensors(self, count: int, alignment: int) -> int:
        """Read the table of tensors; return where the last one ends, counted from the data's beginning."""
        end = 0
        expected: int | None = 0  # where the next tensor begins; None after one of unknown size
        for _ in range(count):
            name = self._name("tensor")
            (dimensions,) = self._unpack("I")
            if dimensions > _DIMENSIONS:
                raise Malformed(Damage.MALFORMED, f"a tensor has {dimensions} dimensions")
            shape = self._unpack(self._long * dimensions)
            kind, offset = self._unpack("IQ")
            elements = 1
            for length in shape:
                elements *= length
            if elements > _ELEMENTS_LIMIT or any(length > _ELEMENTS_LIMIT for length in shape):
                raise Malformed(Damage.MALFORMED, "a tensor has more elements than a computer can count")
            if offset % alignment or (expected is not None and offset != expected):
                raise Malformed(Damage.MALFORMED, "its tensors overlap, leave gaps, or are not aligned")
            size = self._add(name, kind, shape, elements)
            expected = None if size is None else aligned(offset + size, alignment)
            end = max(end, offset + (size or 0))
        return end

    def _add(self, name: bytes, kind: int, shape: tuple[int, ...], elements: int) -> int | None:
        """Add a tensor to its type; return its size in bytes, None where the type is not known."""
        known = TENSOR_TYPES.get(kind)
        if known is None:
            type_name, size = f"type {kind}", None
            self._unknown.add(type_name)
            if len(self._unknown) > _TYPES_LIMIT:
                raise Malformed(Damage.MALFORMED, "its tensors have more types than there are")
        else:
            type_name = known.name
            if shape and shape[0] % known.block_elements:
                raise Malformed(
                    Damage.MALFORMED, f"a row of a tensor is no whole number of blocks of {type_name}"
                )
            size = elements // known.block_elements * known.block_bytes
        tally = self._tally.setdefault(type_name, [0, 0, 0])
        for index, more in enumerate((1, elements, size or 0)):
            tally[index] += more
        if b"_exps." in name:
            self._experts[0] += elements
            self._experts[1] += size or 0
            self._experts_known &= size is not None
        if name == b"token_embd.weight":
            self._lookup = size
        self._has_output |= name == b"output.weight"
        return size
