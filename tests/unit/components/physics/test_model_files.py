"""Shapes of models from real headers: written by the package of llama.cpp, by us, and by somebody hostile."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import gguf as reference
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.physics.model_files import NoShape, kv_of, read_model, shape_of
from aiidpd.demo.model_folder import make_model_folder
from aiidpd.formats.model_files import ModelFacts
from tests.forms import examples

Q4 = reference.GGMLQuantizationType.Q4_K


def write(
    path: Path, architecture: str = "llama", *, tied: bool = False, experts: bool = False, **keys: int
) -> None:
    """Write a GGUF file of 2 blocks; ``keys`` are of its architecture."""
    writer = reference.GGUFWriter(path, architecture)
    writer.add_block_count(2)
    writer.add_embedding_length(256)
    writer.add_head_count(8)
    writer.add_head_count_kv(2)
    for key, value in keys.items():
        writer.add_uint32(f"{architecture}.{key.replace('__', '.')}", value)
    writer.add_tensor("token_embd.weight", np.zeros([100, 256], dtype=np.float16))
    if not tied:
        writer.add_tensor("output.weight", np.zeros([100, 256], dtype=np.float16))
    if experts:
        writer.add_tensor("blk.0.ffn_up_exps.weight", np.zeros([8, 16, 144], dtype=np.uint8), raw_dtype=Q4)
    writer.add_tensor("blk.0.attn_q.weight", np.zeros([16, 144], dtype=np.uint8), raw_dtype=Q4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_embeddings_are_left_out_where_the_output_has_its_own_table(tmp_path: Path) -> None:
    write(tmp_path / "own.gguf")
    write(tmp_path / "tied.gguf", tied=True)
    own, tied = (read_model(tmp_path / name).shape for name in ("own.gguf", "tied.gguf"))
    assert own.lookup_bytes == 100 * 256 * 2
    assert tied.lookup_bytes == 0
    assert own.bytes_read() == tied.bytes_read() == 100 * 256 * 2 + 16 * 144


def test_a_mixture_of_experts(tmp_path: Path) -> None:
    write(tmp_path / "moe.gguf", "qwen3moe", experts=True, expert_count=8, expert_used_count=2)
    shape = read_model(tmp_path / "moe.gguf").shape
    assert shape.expert_bytes == 8 * 16 * 144
    assert shape.bytes_read(1) == shape.weight_bytes - shape.lookup_bytes - shape.expert_bytes * 3 / 4


def test_grouped_queries_and_windows(tmp_path: Path) -> None:
    write(tmp_path / "plain.gguf")
    write(tmp_path / "gemma.gguf", "gemma2", attention__sliding_window=64)
    write(tmp_path / "mistral.gguf", attention__sliding_window=64)
    plain, gemma, mistral = (
        read_model(tmp_path / f"{name}.gguf").shape.kv for name in ("plain", "gemma", "mistral")
    )
    assert plain is not None
    assert gemma is not None
    assert mistral is not None
    assert plain.bytes_per_token() == 2 * 2 * (32 + 32) * 2
    assert (gemma.window, gemma.windowed_blocks) == (64, 1)
    assert (mistral.window, mistral.windowed_blocks) == (64, 2)


def test_latent_attention(tmp_path: Path) -> None:
    write(tmp_path / "mla.gguf", "deepseek2", attention__kv_lora_rank=512, rope__dimension_count=64)
    kv = read_model(tmp_path / "mla.gguf").shape.kv
    assert kv is not None
    assert kv.bytes_per_token() == 2 * (512 + 64) * 2


def safetensors(path: Path, tensors: dict[str, list[int]]) -> None:
    """Write a safetensors file of BF16 tensors of these shapes."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in tensors.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + bytes(end))


def test_a_folder_in_the_form_of_the_hub(tmp_path: Path) -> None:
    safetensors(tmp_path / "model-00001-of-00002.safetensors", {"model.embed_tokens.weight": [10, 8]})
    safetensors(
        tmp_path / "model-00002-of-00002.safetensors", {"lm_head.weight": [10, 8], "model.layers.0.x": [4, 8]}
    )
    config = {
        "architectures": ["Gemma3ForCausalLM"], "num_hidden_layers": 3, "hidden_size": 8,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "sliding_window": 16,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = read_model(tmp_path)
    assert found.shape.lookup_bytes == 160
    assert found.shape.bytes_read() == 160 + 64
    assert found.hidden == 8
    assert found.shape.kv is not None
    assert found.shape.kv.windowed_blocks == 2
    assert found.shape.kv.bytes_per_token() == 3 * (4 + 4) * 2


def test_latent_attention_in_the_form_of_the_hub(tmp_path: Path) -> None:
    safetensors(tmp_path / "model.safetensors", {"lm_head.weight": [10, 8]})
    config = {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_size": 8,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 4,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    kv = read_model(tmp_path).shape.kv
    assert kv is not None
    assert kv.bytes_per_token() == 2 * (16 + 4) * 2


def test_parts_of_a_split_model_are_one(tmp_path: Path) -> None:
    for number, name in enumerate(("token_embd.weight", "output.weight"), 1):
        writer = reference.GGUFWriter(tmp_path / f"m-0000{number}-of-00002.gguf", "llama")
        writer.add_uint16("split.no", number - 1)
        writer.add_uint16("split.count", 2)
        writer.add_tensor(name, np.zeros([10, 256], dtype=np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    shape = read_model(tmp_path / "m-00002-of-00002.gguf").shape
    assert (shape.weight_bytes, shape.lookup_bytes) == (2 * 5120, 5120)


def test_several_models_in_a_folder_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf")
    write(tmp_path / "b.gguf")
    with pytest.raises(NoShape, match=r"holds 2 models.*a, b"):
        read_model(tmp_path)


def test_an_empty_folder_and_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(NoShape, match="holds no model"):
        read_model(tmp_path)
    (tmp_path / "x.gguf").write_bytes(b"<html>not found</html>")
    with pytest.raises(NoShape, match="no header of a model"):
        read_model(tmp_path / "x.gguf")
    with pytest.raises(NoShape, match="cannot read"):
        read_model(tmp_path / "absent.gguf")


def test_a_truncated_file_is_estimated_and_said_to_be_damaged(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf")
    data = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(data[:-100])
    assert any(note.startswith("damaged: m.gguf") for note in read_model(tmp_path / "m.gguf").notes)


NUMBER = st.none() | st.integers(0, 2**80)


@given(
    st.builds(
        ModelFacts,
        format=st.just("gguf"),
        architecture=st.sampled_from(["", "gemma3", "llama"]),
        tensor_bytes=NUMBER,
        lookup_bytes=NUMBER,
        expert_bytes=NUMBER,
        expert_count=NUMBER,
        expert_used_count=NUMBER,
        block_count=NUMBER,
        kv_head_count=NUMBER,
        key_length=NUMBER,
        value_length=NUMBER,
        sliding_window=NUMBER,
        windowed_blocks=NUMBER,
        kv_lora_rank=NUMBER,
        kv_heads_by_block=st.lists(st.integers(0, 2**70), max_size=4).map(tuple),
    )
)
@examples(200)
def test_whatever_headers_state_makes_a_shape_or_is_refused(facts: ModelFacts) -> None:
    try:
        shape = shape_of(facts, 1000)
    except ValueError:
        return
    assert 0 <= shape.bytes_read() <= shape.weight_bytes * (1 + 1e-9)
    if shape.kv is not None:
        assert shape.kv.bytes_per_token() >= 0


@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "m.gguf"
    path.write_bytes(b"GGUF" + data)
    with pytest.raises(NoShape):
        read_model(path)


def test_the_demo_model(tmp_path: Path) -> None:
    make_model_folder(tmp_path)
    assert read_model(tmp_path / "model.gguf").shape.weight_bytes == 1_049_600


def test_no_blocks_no_shape_of_keys() -> None:
    assert (
        kv_of(ModelFacts(format="gguf", block_count=10**9, kv_head_count=1, key_length=1, value_length=1))
        is None
    )
