"""Facts of a model's ``config.json``."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.formats.damage import Damage, Malformed
from aiidpd.formats.hub_config import HubConfig, read_config
from aiidpd.formats.model_files import TypeShare
from tests.forms import examples

QWEN = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "torch_dtype": "bfloat16",
    "hidden_size": 2048,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "num_hidden_layers": 48,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "sliding_window": 4096,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def read(config: Any) -> HubConfig:
    return read_config(io.BytesIO(json.dumps(config).encode()))


def test_a_mixture_of_experts() -> None:
    assert read(QWEN) == HubConfig(
        architecture="Qwen3MoeForCausalLM",
        model_type="qwen3_moe",
        dtype="bfloat16",
        context_length=40960,
        block_count=48,
        embedding_length=2048,
        head_count=32,
        kv_head_count=4,
        head_length=128,
        vocabulary=151936,
        expert_count=128,
        expert_used_count=8,
    )


def test_latent_attention_and_blocks_with_a_window() -> None:
    kinds = ["sliding_attention", "full_attention", "chunked_attention", 3]
    config = read({"kv_lora_rank": 512, "qk_rope_head_dim": 64, "layer_types": kinds})
    assert (config.kv_lora_rank, config.rope_length, config.windowed_blocks) == (512, 64, 2)
    assert read({"layer_types": "all"}).windowed_blocks is None
    assert config.facts((), lookup_bytes=7).lookup_bytes == 7


def test_older_names_and_what_follows_from_them() -> None:
    config = read({"model_type": "gpt2", "n_positions": 1024, "n_layer": 12, "n_embd": 768, "n_head": 12})
    assert (config.context_length, config.block_count, config.head_length) == (1024, 12, 64)
    assert config.kv_head_count == 12


def test_a_model_of_several_kinds_of_input() -> None:
    config = read(
        {"architectures": ["G"], "text_config": {"hidden_size": 64, "model_type": "t"}, "model_type": "m"}
    )
    assert (config.embedding_length, config.model_type, config.architecture) == (64, "m", "G")


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq 4-bit"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq 4-bit"),
        ({"quant_method": "fp8", "activation_scheme": "dynamic"}, "fp8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes 4-bit"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {"group_0": {"weights": {"num_bits": 4}}},
            },
            "pack-quantized 4-bit",
        ),
        ({}, ""),
        ("nonsense", ""),
    ],
)
def test_quantisations(stated: Any, text: str) -> None:
    assert read({"quantization_config": stated}).quantization == text


def test_what_mlx_writes() -> None:
    assert read({"quantization": {"group_size": 64, "bits": 4}}).quantization == "4-bit"


def test_facts_with_the_tensors_of_the_files() -> None:
    types = (TypeShare("BF16", 3, 1000, 2000),)
    facts = read(QWEN).facts(types, experts=(800, 1600))
    assert (facts.parameters, facts.quantization, facts.tensor_bytes) == (1000, "BF16", 2000)
    assert facts.active_parameters == 200 + 800 * 8 // 128
    packed = read({"quantization_config": {"quant_method": "gptq", "bits": 4}}).facts(
        (TypeShare("I32", 3, 1000, 4000), TypeShare("F16", 1, 10, 20))
    )
    assert (packed.parameters, packed.quantization) == (None, "gptq 4-bit")
    assert HubConfig().facts((), parameters=7).parameters == 7


@pytest.mark.parametrize(
    ("content", "damage"),
    [
        (b"", Damage.EMPTY),
        (b"<html>", Damage.HTML),
        (b"[]", Damage.MALFORMED),
        (b"{", Damage.MALFORMED),
        (b"\xff", Damage.MALFORMED),
        (b"[" * 100_000, Damage.MALFORMED),
        (b" " * 2_000_000, Damage.TOO_LARGE),
    ],
)
def test_what_is_no_configuration(content: bytes, damage: Damage) -> None:
    with pytest.raises(Malformed) as refused:
        read_config(io.BytesIO(content))
    assert refused.value.damage is damage


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    *QWEN,
    "quantization_config",
    "text_config",
    "compression_config",
    "quantization",
    "config_groups",
    "bits",
]


@examples(300)
@given(
    st.dictionaries(st.sampled_from(KEYS), JSON | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3))
)
def test_any_json_is_read(config: Any) -> None:
    found = read(config)
    assert found.embedding_length is None or found.embedding_length >= 0
