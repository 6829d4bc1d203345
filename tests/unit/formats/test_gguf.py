"""The reader of GGUF headers, judged by the package of llama.cpp that writes them."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import gguf as reference
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiidpd.demo.model_folder import make_model_folder
from aiidpd.formats import gguf
from aiidpd.formats.damage import Damage, Malformed
from aiidpd.formats.ggml import FILE_TYPES, TENSOR_TYPES
from tests.forms import examples


def write(path: Path, architecture: str = "llama", *, big: bool = False) -> reference.GGUFWriter:
    order = reference.GGUFEndian.BIG if big else reference.GGUFEndian.LITTLE
    return reference.GGUFWriter(path, architecture, endianess=order)


def close(writer: reference.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def raw(*, tensors: int = 0, keys: int = 0, rest: bytes = b"", version: int = 3) -> bytes:
    counts = "II" if version == 1 else "QQ"
    return b"GGUF" + struct.pack("<I" + counts, version, tensors, keys) + rest


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def read(data: bytes) -> gguf.GgufHeader:
    return gguf.read_header(io.BytesIO(data))


def test_the_tables_are_those_of_the_reference() -> None:
    for kind in reference.GGMLQuantizationType:
        known = TENSOR_TYPES[kind.value]
        assert (known.name, known[1:]) == (kind.name, reference.GGML_QUANT_SIZES[kind])
    for file_type in reference.LlamaFileType:
        if file_type is not reference.LlamaFileType.GUESSED:
            name = FILE_TYPES[file_type.value]
            assert file_type.name.removeprefix("MOSTLY_").removeprefix("ALL_") == name


TYPES = [
    reference.GGMLQuantizationType.F32,
    reference.GGMLQuantizationType.F16,
    reference.GGMLQuantizationType.Q8_0,
    reference.GGMLQuantizationType.Q4_K,
    reference.GGMLQuantizationType.IQ4_NL,
]
SCALARS = st.one_of(
    st.booleans().map(lambda value: ("bool", value)),
    st.integers(0, 2**32 - 1).map(lambda value: ("uint32", value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: ("int64", value)),
    st.floats(width=32, allow_nan=False).map(lambda value: ("float32", value)),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).map(
        lambda value: ("string", value)
    ),
)
KEYS = st.dictionaries(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){1,2}", fullmatch=True), SCALARS, max_size=8)
TENSORS = st.lists(st.tuples(st.sampled_from(TYPES), st.lists(st.integers(1, 4), max_size=3)), max_size=6)


def add_tensor(writer: reference.GGUFWriter, name: str, kind: Any, outer: list[int], row: int = 256) -> None:
    block, size = reference.GGML_QUANT_SIZES[kind]
    shape = [*outer, row // block * size]
    plain = {reference.GGMLQuantizationType.F32: np.float32, reference.GGMLQuantizationType.F16: np.float16}
    if kind in plain:
        writer.add_tensor(name, np.zeros([*outer, row], dtype=plain[kind]))
    else:
        writer.add_tensor(name, np.zeros(shape, dtype=np.uint8), raw_dtype=kind)


@given(
    keys=KEYS,
    tensors=TENSORS,
    tokens=st.integers(0, 50),
    big=st.booleans(),
    alignment=st.sampled_from([8, 32, 256]),
)
def test_it_reads_what_the_reference_writes(  # noqa: PLR0917
    tmp_path_factory: pytest.TempPathFactory, keys: Any, tensors: Any, tokens: int, big: bool, alignment: int
) -> None:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    writer = write(path, big=big)
    writer.add_custom_alignment(alignment)
    for key, (kind, value) in keys.items():
        getattr(writer, f"add_{kind}")(f"x.{key}", value)
    if tokens:
        writer.add_token_list([b"t%d" % number for number in range(tokens)])
    for number, (kind, outer) in enumerate(tensors):
        add_tensor(writer, f"blk.{number}.weight", kind, outer)
    close(writer)

    header = gguf.read_header(path)
    assert header.big_endian is big
    assert header.version == 3
    assert header.architecture == "llama"
    for key, (_, value) in keys.items():
        assert header.values[f"x.{key}"] == value
    assert header.array_lengths.get("tokenizer.ggml.tokens", 0) == tokens
    assert header.damage(path.stat().st_size) is None
    if tensors and not big:  # the reference turns no tensors of the other order
        judged = reference.GGUFReader(path)
        assert header.data_offset == judged.data_offset
        assert sum(share.elements for share in header.types) == sum(t.n_elements for t in judged.tensors)
        assert header.tensor_bytes == sum(t.n_bytes for t in judged.tensors)
        last = judged.tensors[-1]
        assert header.expected_bytes == last.data_offset + last.n_bytes
    if tensors:
        assert header.tensor_count == len(tensors)
        shorter = header.damage(header.expected_bytes - 1)
        assert shorter is not None
        assert shorter[0] is Damage.TRUNCATED
        longer = header.damage(path.stat().st_size + 1)
        assert longer is not None
        assert longer[0] is Damage.TRAILING


def test_it_states_what_a_model_is(tmp_path: Path) -> None:
    writer = write(tmp_path / "m.gguf", "qwen3moe")
    writer.add_name("A model")
    writer.add_file_type(reference.LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_context_length(40960)
    writer.add_block_count(2)
    writer.add_embedding_length(256)
    writer.add_head_count(8)
    writer.add_head_count_kv([4, 2])
    writer.add_key_length(128)
    writer.add_expert_count(8)
    writer.add_expert_used_count(2)
    writer.add_token_list([b"a", b"b", b"c"])
    writer.add_chat_template("x" * 5000)
    add_tensor(writer, "token_embd.weight", reference.GGMLQuantizationType.F16, [3])
    add_tensor(writer, "blk.0.ffn_up_exps.weight", reference.GGMLQuantizationType.Q4_K, [8, 64])
    add_tensor(writer, "output_norm.weight", reference.GGMLQuantizationType.F32, [])
    close(writer)
    header = gguf.read_header(tmp_path / "m.gguf")
    facts = header.facts()
    experts = 8 * 64 * 256
    assert (facts.architecture, facts.name, facts.quantization) == ("qwen3moe", "A model", "Q4_K_M")
    assert facts.parameters == experts + 4 * 256
    assert [share.name for share in facts.types] == ["Q4_K", "F16", "F32"]
    assert (facts.context_length, facts.block_count, facts.embedding_length) == (40960, 2, 256)
    assert (facts.head_count, facts.kv_head_count, facts.kv_heads_by_block) == (8, 4, (4, 2))
    assert (facts.key_length, facts.value_length, facts.vocabulary) == (128, 32, 3)
    assert facts.expert_parameters == experts
    assert facts.expert_bytes == 8 * 64 * 144
    assert facts.active_parameters == experts // 4 + 4 * 256
    assert facts.tensor_bytes == 8 * 64 * 144 + 3 * 512 + 1024
    assert (header.lookup_bytes, header.has_output, facts.lookup_bytes) == (3 * 512, False, 0)
    assert header.values["tokenizer.chat_template"] == ""


def test_parts_of_a_split_model(tmp_path: Path) -> None:
    writer = reference.GGUFWriter(
        tmp_path / "model.gguf", "llama", split_max_tensors=1, small_first_shard=True
    )
    for number in range(2):
        add_tensor(writer, f"blk.{number}.weight", reference.GGMLQuantizationType.F32, [number + 1])
    close(writer)
    headers = [gguf.read_header(path) for path in sorted(tmp_path.iterdir())]
    assert [header.split for header in headers] == [(1, 3), (2, 3), (3, 3)]
    assert [header.tensor_count for header in headers] == [0, 1, 1]
    assert {header.split_tensors for header in headers} == {2}
    assert all(
        header.damage(path.stat().st_size) is None
        for header, path in zip(headers, sorted(tmp_path.iterdir()), strict=True)
    )


def test_the_demo_model(tmp_path: Path) -> None:
    make_model_folder(tmp_path)
    header = gguf.read_header(tmp_path / "model.gguf")
    assert header.facts().parameters == 2 * 512 * 256 + 256
    assert header.damage((tmp_path / "model.gguf").stat().st_size) is None


def test_version_1_counts_in_32_bits() -> None:
    keys = struct.pack("<I", 20) + b"general.architecture" + struct.pack("<II", 8, 5) + b"llama"
    tensor = struct.pack("<I", 1) + b"t" + struct.pack("<IIIIQ", 2, 32, 2, 0, 0)
    header = read(raw(version=1, tensors=1, keys=1, rest=keys + tensor))
    assert (header.version, header.architecture, header.tensor_bytes) == (1, "llama", 256)
    assert header.expected_bytes == header.data_offset + 256


def test_a_type_of_the_future_leaves_sizes_unknown_and_is_no_damage() -> None:
    tensor = text(b"t") + struct.pack("<IQIQ", 1, 256, 77, 0)
    header = read(raw(tensors=1, rest=tensor))
    assert (header.exact, header.tensor_bytes, header.facts().quantization) == (False, None, "type 77")
    assert header.damage(10**9) is None


class Pipe(io.RawIOBase):
    """A stream that can't seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


def test_a_stream_that_cannot_seek(tmp_path: Path) -> None:
    writer = write(tmp_path / "m.gguf")
    writer.add_token_list([b"token"] * 100_000)
    add_tensor(writer, "t", reference.GGMLQuantizationType.F32, [2])
    close(writer)
    data = (tmp_path / "m.gguf").read_bytes()
    assert gguf.read_header(Pipe(data)) == read(data)  # type: ignore[arg-type]


def test_a_large_vocabulary_costs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.gguf"
    tokens = b"".join(text(b"token%d" % number) for number in range(152_000))
    scores = struct.pack("<I", 6) + struct.pack("<Q", 152_000) + bytes(4 * 152_000)
    rest = text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 152_000) + tokens
    path.write_bytes(raw(keys=2, rest=rest + text(b"tokenizer.ggml.scores") + struct.pack("<I", 9) + scores))
    tracemalloc.start()
    try:
        header = gguf.read_header(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert header.array_lengths == {"tokenizer.ggml.tokens": 152_000, "tokenizer.ggml.scores": 152_000}
    assert header.facts().vocabulary == 152_000
    assert header.damage(path.stat().st_size) is None
    assert peak < 4 * 1024**2


KEY = text(b"k")
HOSTILE = {
    "billion tensors": (raw(tensors=10**9), Damage.TOO_LARGE),
    "most tensors": (raw(tensors=2**64 - 1, keys=2**64 - 1), Damage.TOO_LARGE),
    "keys": (raw(keys=2**60), Damage.TOO_LARGE),
    "tensors that are not there": (raw(tensors=100_000), Damage.TRUNCATED),
    "strings": (raw(keys=1, rest=KEY + struct.pack("<IIQ", 9, 8, 2**60)), Damage.TRUNCATED),
    "numbers": (raw(keys=1, rest=KEY + struct.pack("<IIQ", 9, 12, 2**60)), Damage.TRUNCATED),
    "arrays": (raw(keys=1, rest=KEY + struct.pack("<IIQ", 9, 9, 2**60)), Damage.TOO_LARGE),
    "deep": (raw(keys=1, rest=KEY + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50), Damage.MALFORMED),
    "string length": (raw(keys=1, rest=KEY + struct.pack("<IQ", 8, 2**64 - 1)), Damage.TRUNCATED),
    "name length": (raw(keys=1, rest=struct.pack("<Q", 2**63)), Damage.TRUNCATED),
    "kind": (raw(keys=1, rest=KEY + struct.pack("<IQ", 99, 0)), Damage.MALFORMED),
    "twice": (raw(keys=2, rest=(KEY + struct.pack("<IB", 0, 1)) * 2), Damage.MALFORMED),
    "alignment": (raw(keys=1, rest=text(b"general.alignment") + struct.pack("<II", 4, 0)), Damage.MALFORMED),
    "dimensions": (raw(tensors=1, rest=KEY + struct.pack("<I", 2**31)), Damage.MALFORMED),
    "elements": (raw(tensors=1, rest=KEY + struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0)), Damage.MALFORMED),
    "offset": (raw(tensors=1, rest=KEY + struct.pack("<IQIQ", 1, 4, 0, 2**60)), Damage.MALFORMED),
    "row": (raw(tensors=1, rest=KEY + struct.pack("<IQIQ", 1, 33, 2, 0)), Damage.MALFORMED),
    "version": (raw(version=4), Damage.MALFORMED),
    "empty": (b"", Damage.EMPTY),
    "short": (b"GGUF\3", Damage.TRUNCATED),
    "zeros": (bytes(4096), Damage.ZEROED),
    "page": (b"<!DOCTYPE html><html>Sign in", Damage.HTML),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", Damage.LFS_POINTER),
    "message": (b'{"error":"Repository not found"}', Damage.TEXT),
    "other": (b"PK\3\4" + bytes(600), Damage.WRONG_MAGIC),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_by_name(name: str) -> None:
    data, damage = HOSTILE[name]
    with pytest.raises(Malformed) as refused:
        read(data)
    assert refused.value.damage is damage
    with pytest.raises(Malformed):
        gguf.read_header(Pipe(data))  # type: ignore[arg-type]


class Endless(io.RawIOBase):
    """``head``, and then ``pattern`` for ever."""

    def __init__(self, head: bytes, pattern: bytes) -> None:
        self.head, self.pattern = head, pattern
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        turned = max(0, self.given - len(self.head)) % len(self.pattern)
        pattern = self.pattern * (len(buffer) // len(self.pattern) + 2)
        data = (self.head[self.given :] or pattern[turned:])[: len(buffer)]
        self.given += len(data)
        buffer[: len(data)] = data
        return len(data)


def test_an_endless_header_ends_at_its_limit() -> None:
    head = raw(keys=1, rest=KEY + struct.pack("<IIQ", 9, 8, 2**20))
    stream = Endless(head, text(bytes(248)))
    with pytest.raises(Malformed) as refused:
        gguf.read_header(stream)  # type: ignore[arg-type]
    assert refused.value.damage is Damage.TOO_LARGE
    assert stream.given < gguf.HEADER_LIMIT_BYTES + 1024**2


def outcome(data: bytes) -> Damage | None:
    """Read ``data``; return the damage that was found, and let any other error out."""
    try:
        header = read(data)
    except Malformed as error:
        return error.damage
    header.facts()
    found = header.damage(len(data))
    return found and found[0]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("sound")
    make_model_folder(folder)
    return (folder / "model.gguf").read_bytes()[:2048]


@examples(1000)
@given(data=st.data())
def test_mutated_headers_raise_nothing_else(sound: bytes, data: st.DataObject) -> None:
    base = bytearray(sound)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=8)):
        base[at] = byte
    outcome(bytes(base))
    cut = data.draw(st.integers(0, len(base) - 1))
    assert outcome(sound[:cut]) in (Damage.EMPTY, Damage.TRUNCATED, Damage.WRONG_MAGIC)


@examples(500)
@given(st.binary(max_size=400).map(lambda rest: b"GGUF\3\0\0\0" + rest))
@example(b"GGUF" + bytes(20))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    outcome(data)


def test_what_is_no_file_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    for path in (tmp_path / "pipe.gguf", tmp_path, Path("/dev/zero")):
        with pytest.raises(Malformed) as refused:
            gguf.read_header(path)
        assert refused.value.damage is Damage.NO_FILE
    with pytest.raises(FileNotFoundError):
        gguf.read_header(tmp_path / "nothing.gguf")
