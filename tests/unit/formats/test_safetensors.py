"""The reader of safetensors headers, judged by the reference implementation."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, TensorSpec, deserialize, serialize

from aiidpd.demo.model_folder import make_model_folder
from aiidpd.formats import safetensors
from aiidpd.formats.damage import Damage, Malformed
from tests.forms import examples

NAMES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "F16": "float16",
    "BF16": "bfloat16", "I32": "int32", "U32": "uint32", "F32": "float32", "F64": "float64", "I64": "int64",
    "U64": "uint64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F4": "float4_e2m1fn_x2",
    "C64": "complex64", "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip


def file(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded) if length is None else length) + encoded + data


def entry(kind: str = "F32", shape: list[Any] | None = None, begin: Any = 0, end: Any = 4) -> dict[str, Any]:
    return {"dtype": kind, "shape": [1] if shape is None else shape, "data_offsets": [begin, end]}


def read(data: bytes) -> safetensors.SafetensorsHeader:
    return safetensors.read_header(io.BytesIO(data))


def judge(data: bytes) -> bool:
    """Return whether the reference takes ``data``."""
    try:
        deserialize(data)
    except SafetensorError:
        return False
    return True


TENSORS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
        lambda name: name != "__metadata__"
    ),
    st.tuples(st.sampled_from(sorted(NAMES)), st.lists(st.integers(0, 5).map(lambda n: 2 * n), max_size=3)),
    max_size=6,
)
METADATA = st.none() | st.dictionaries(st.text(max_size=20), st.text(max_size=60), max_size=4)


@given(tensors=TENSORS, metadata=METADATA)
def test_it_reads_what_the_reference_writes(tensors: Any, metadata: Any) -> None:
    alive, written = [], {}
    for name, (kind, shape) in tensors.items():
        shape = shape or ([2] if kind == "F4" else [])  # noqa: PLW2901 -- half a byte is no tensor
        count = int(np.prod(shape, dtype=np.int64))
        content = np.zeros(max(1, count * safetensors.BITS[kind] // 8), dtype=np.uint8)
        alive.append(content)
        # Of two values in a byte the writer expects the bytes.
        stored = [*shape[:-1], shape[-1] // 2] if kind == "F4" else shape
        size = count * safetensors.BITS[kind] // 8
        written[name] = TensorSpec(
            dtype=NAMES[kind], shape=stored, data_ptr=content.ctypes.data, data_len=size
        )
    data = bytes(serialize(written, metadata or None))  # of an empty one 0.8.0 writes no JSON
    header = read(data)
    assert header.damage(len(data)) is None
    assert header.tensor_count == len(tensors)
    assert header.tensor_bytes == sum(spec.data_len for spec in written.values())
    assert header.elements == sum(int(np.prod(spec.shape, dtype=np.int64)) for spec in written.values())
    assert header.metadata == (metadata or {})
    assert header.data_offset + header.tensor_bytes == len(data)
    longer = header.damage(len(data) + 1)
    assert longer is not None
    assert longer[0] is Damage.TRAILING


def test_it_states_what_is_in_a_file(tmp_path: Path) -> None:
    make_model_folder(tmp_path)
    header = safetensors.read_header(tmp_path / "model.safetensors")
    assert header.elements == 2 * 512 * 256 + 256
    assert [(share.name, share.tensors) for share in header.types] == [("F32", 3)]
    assert header.metadata == {"format": "pt"}
    assert header.damage((tmp_path / "model.safetensors").stat().st_size) is None
    short = header.damage((tmp_path / "model.safetensors").stat().st_size - 1)
    assert short is not None
    assert short[0] is Damage.TRUNCATED


def test_experts_are_counted_apart() -> None:
    header = read(
        file(
            {
                "model.layers.0.mlp.experts.0.up.weight": entry("F16", [4], 0, 8),
                "norm": entry("F32", [2], 8, 16),
            },
            bytes(16),
        )
    )
    assert (header.expert_elements, header.expert_bytes, header.elements) == (4, 8, 6)


NESTED = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0],"x":{}}'
FIRST, SECOND = json.dumps(entry()).encode(), json.dumps(entry(begin=4, end=8)).encode()
HOSTILE = {
    "8 EiB": (struct.pack("<Q", 2**63) + b"{}", Damage.TOO_LARGE),
    "most": (struct.pack("<Q", 2**64 - 1) + b"{", Damage.TOO_LARGE),
    "100 MB and not there": (file(b"{}", length=100_000_000), Damage.TRUNCATED),
    "cut": (file({"a": entry()})[:20], Damage.TRUNCATED),
    "seven bytes": (b"\1\0\0\0\0\0\0", Damage.TRUNCATED),
    "no braces": (file(b"[]"), Damage.WRONG_MAGIC),
    "deep": (file(b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}"), Damage.MALFORMED),
    "bomb": (file(b'{"a":' + b"[" * 1_000_000), Damage.MALFORMED),
    "long name": (file(b'{"' + b"a" * 10_000 + b'":1}'), Damage.MALFORMED),
    "type": (file({"a": entry("F7")}, bytes(4)), Damage.MALFORMED),
    "shape": (file({"a": entry(shape=[-1])}, bytes(4)), Damage.MALFORMED),
    "truth": (file({"a": entry(shape=[True])}, bytes(4)), Damage.MALFORMED),
    "fraction": (file({"a": entry(end=4.0)}, bytes(4)), Damage.MALFORMED),
    "huge shape": (file({"a": entry(shape=[2**62, 2**62])}, bytes(4)), Damage.MALFORMED),
    "size": (file({"a": entry(end=5)}, bytes(5)), Damage.MALFORMED),
    "backwards": (file({"a": entry(begin=4, end=0)}, bytes(4)), Damage.MALFORMED),
    "hole": (file({"a": entry(begin=4, end=8)}, bytes(8)), Damage.MALFORMED),
    "overlap": (file({"a": entry(), "b": entry()}, bytes(4)), Damage.MALFORMED),
    "many nested entries": (
        file(b"{" + b",".join(b'"%d":%b' % (n, NESTED) for n in range(50_000)) + b"}"), Damage.TOO_LARGE,
    ),
    "twice": (file(b'{"a":%b,"a":%b}' % (FIRST, SECOND), bytes(8)), Damage.MALFORMED),
    "no offsets": (file({"a": {"dtype": "F32", "shape": [1]}}), Damage.MALFORMED),
    "a number": (file({"a": 1}), Damage.MALFORMED),
    "metadata": (file({"__metadata__": {"a": 1}}), Damage.MALFORMED),
    "more metadata": (file({"__metadata__": {str(n): "" for n in range(2000)}}), Damage.TOO_LARGE),
    "no end": (file(b'{"a'), Damage.MALFORMED),
    "more": (file(b"{} {}"), Damage.MALFORMED),
    "not utf-8": (file(b'{"\xff":1}'), Damage.MALFORMED),
    "empty": (b"", Damage.EMPTY),
    "zeros": (bytes(4096), Damage.ZEROED),
    "zeros with a length": (struct.pack("<Q", 500) + bytes(4096), Damage.ZEROED),
    "page": (b"<html><head><title>504", Damage.HTML),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", Damage.LFS_POINTER),
    "message": (b"Entry not found", Damage.TEXT),
    "gguf": (b"GGUF" + bytes(20) + b"x" * 600, Damage.WRONG_MAGIC),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_by_name(name: str) -> None:
    data, damage = HOSTILE[name]
    with pytest.raises(Malformed) as refused:
        read(data)
    assert refused.value.damage is damage
    assert not judge(data) or damage is Damage.TOO_LARGE  # some bounds are of this reader alone


def test_the_largest_header_costs_little_memory(tmp_path: Path) -> None:
    """A header of 100 MB: spaces, and one long text of escapes in the metadata."""
    start = (
        b'{"__metadata__":{"note":"' + b"\\n" * 30_000_000 + b'"},"a":' + json.dumps(entry()).encode() + b"}"
    )
    path = tmp_path / "large.safetensors"
    path.write_bytes(file(start + b" " * (100_000_000 - len(start)), bytes(4)))
    del start
    tracemalloc.start()
    try:
        header = safetensors.read_header(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (header.elements, header.metadata) == (1, {})
    assert header.damage(path.stat().st_size) is None
    assert peak < 4 * 1024**2


def test_many_tensors_cost_little_memory(tmp_path: Path) -> None:
    count = 20_000
    tensors = {f"model.layers.{n}.weight": entry("F32", [1], 4 * n, 4 * n + 4) for n in range(count)}
    path = tmp_path / "many.safetensors"
    path.write_bytes(file(tensors, bytes(4 * count)))
    tracemalloc.start()
    try:
        header = safetensors.read_header(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert header.tensor_count == count
    assert peak < 16 * 1024**2


@examples(1000)
@given(data=st.data())
def test_mutated_headers_raise_nothing_else(data: st.DataObject) -> None:
    base = bytearray(
        file({"__metadata__": {"a": "b\n"}, "x": entry(), "y": entry("I8", [2, 2], 4, 8)}, bytes(8))
    )
    for at, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(base) - 1), st.integers(0, 255)), max_size=6)
    ):
        base[at] = byte
    cut = data.draw(st.integers(0, len(base)))
    for mutated in (bytes(base), bytes(base[:cut])):
        try:
            header = read(mutated)
        except Malformed:
            continue
        if header.damage(len(mutated)) is None:
            assert judge(mutated)  # nothing that the reference refuses passes as sound


@examples(500)
@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    for source in (data, file(b"{" + data), file(b'{"' + data + b'":{}}')):
        try:
            read(source)
        except Malformed as error:
            assert error.reason  # noqa: PT017 -- either end is right


def test_an_index_names_files_and_totals(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    weights = {"a.weight": "model-00002-of-00002.safetensors", "b.weight": "model-00001-of-00002.safetensors"}
    path.write_text(
        json.dumps({"metadata": {"total_size": 8.0, "more": [1]}, "weight_map": weights, "x": {}})
    )
    index = safetensors.read_index(path)
    assert index.files == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert (index.tensor_count, index.tensor_bytes, index.parameters) == (2, 8, None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"<html>",
        b'{"weight_map":{"a":"../../etc/passwd"}}',
        b'{"weight_map":{"a":"/x"}}',
        b'{"weight_map":{"a":1}}',
        b'{"weight_map":[',
        b'{"metadata":' + b"[" * 9000,
        b'{"x":' + b"[" * 90_000,
    ],
)
def test_a_bad_index_is_refused(content: bytes) -> None:
    with pytest.raises(Malformed):
        safetensors.read_index(io.BytesIO(content))


@examples(300)
@given(st.binary(max_size=200))
def test_a_random_index_raises_nothing_else(data: bytes) -> None:
    for source in (data, b'{"weight_map":{' + data + b"}}"):
        try:
            safetensors.read_index(io.BytesIO(source))
        except Malformed as error:
            assert error.reason  # noqa: PT017 -- either end is right
