"""``config.json`` of a model in Hugging Face's form: architecture, context, heads, quantisation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiidpd.formats.damage import HEAD_BYTES, Damage, Malformed, damage_of_head
from aiidpd.formats.model_files import ModelFacts, TypeShare
from aiidpd.formats.stream import Source, read_small

CONFIG_LIMIT_BYTES: Final = 1024**2
_TEXT_LIMIT: Final = 200
_COUNT_LIMIT: Final = 2**48
_INNER: Final = ("text_config", "llm_config", "language_config", "thinker_config")
_PACKED: Final = frozenset({"I32", "U32", "U8", "I64", "U64"})
_BYTE_BITS: Final = 8


@dataclass(frozen=True, slots=True)
class HubConfig:
    """Facts of one ``config.json``; None or empty: not stated."""

    architecture: str = ""
    model_type: str = ""
    dtype: str = ""
    quantization: str = ""
    """Method and bits, such as ``gptq 4-bit`` or ``fp8``."""
    context_length: int | None = None
    block_count: int | None = None
    embedding_length: int | None = None
    head_count: int | None = None
    kv_head_count: int | None = None
    head_length: int | None = None
    vocabulary: int | None = None
    sliding_window: int | None = None
    expert_count: int | None = None
    expert_used_count: int | None = None
    kv_lora_rank: int | None = None
    rope_length: int | None = None
    windowed_blocks: int | None = None

    def facts(
        self,
        types: tuple[TypeShare, ...],
        *,
        parameters: int | None = None,
        experts: tuple[int, int] = (0, 0),
        lookup_bytes: int | None = None,
        name: str = "",
    ) -> ModelFacts:
        """Return these facts with those of the headers of all its safetensors files.

        ``parameters``: of the index, where it states them. ``experts``: elements and bytes of experts.
        ``lookup_bytes``: of embeddings, where the output has a table of its own.
        """
        packed = is_packed(types)
        if parameters is None and types and not packed:
            parameters = sum(share.elements for share in types)
        return ModelFacts(
            format="safetensors",
            architecture=self.architecture or self.model_type,
            name=name,
            parameters=parameters,
            quantization=self.quantization or (types[0].name if types else ""),
            types=types,
            context_length=self.context_length,
            block_count=self.block_count,
            embedding_length=self.embedding_length,
            head_count=self.head_count,
            kv_head_count=self.kv_head_count,
            key_length=self.head_length,
            value_length=self.head_length,
            vocabulary=self.vocabulary,
            sliding_window=self.sliding_window,
            expert_count=self.expert_count,
            expert_used_count=self.expert_used_count,
            expert_parameters=None if packed else experts[0] or None,
            expert_bytes=experts[1] or None,
            tensor_count=sum(share.tensors for share in types),
            tensor_bytes=sum(share.bytes or 0 for share in types) if types else None,
            lookup_bytes=lookup_bytes,
            kv_lora_rank=self.kv_lora_rank,
            rope_length=self.rope_length,
            windowed_blocks=self.windowed_blocks,
        )


def is_packed(types: tuple[TypeShare, ...]) -> bool:
    """Return whether most bytes are of a type that holds several weights an element, as with GPTQ."""
    return bool(types) and types[0].name in _PACKED


def read_config(source: Source) -> HubConfig:
    """Read a ``config.json``; raises :class:`Malformed` and :class:`OSError`. Blocks."""
    data = read_small(source, CONFIG_LIMIT_BYTES)
    damage = damage_of_head(data[:HEAD_BYTES], text=True)
    if damage is not None:
        raise Malformed(damage, damage.sentence)
    try:
        config = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise Malformed(Damage.MALFORMED, "it is no JSON") from None
    if not isinstance(config, dict):
        raise Malformed(Damage.MALFORMED, "it is no JSON object")
    inner: dict[str, Any] = next((config[key] for key in _INNER if isinstance(config.get(key), dict)), {})
    return _config({**inner, **{key: value for key, value in config.items() if value is not None}})


def _config(config: Mapping[str, Any]) -> HubConfig:
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else ""
    embedding = _number(config, "hidden_size", "n_embd", "d_model", "dim")
    heads = _number(config, "num_attention_heads", "n_head", "n_heads")
    length = _number(config, "head_dim")
    if length is None and embedding and heads and embedding % heads == 0:
        length = embedding // heads
    used = _number(config, "num_experts_per_tok", "num_experts_per_token", "moe_topk", "top_k_experts")
    return HubConfig(
        architecture=_text(first),
        model_type=_text(config.get("model_type")),
        dtype=_text(config.get("dtype") or config.get("torch_dtype")),
        quantization=_quantization(config),
        context_length=_number(
            config,
            "max_position_embeddings",
            "n_positions",
            "max_seq_len",
            "n_ctx",
            "seq_length",
            "max_sequence_length",
        ),
        block_count=_number(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        embedding_length=embedding,
        head_count=heads,
        kv_head_count=_number(config, "num_key_value_heads", "num_kv_heads", "n_head_kv") or heads,
        head_length=length,
        vocabulary=_number(config, "vocab_size"),
        sliding_window=None
        if config.get("use_sliding_window") is False
        else _number(config, "sliding_window"),
        expert_count=_number(config, "num_experts", "num_local_experts", "n_routed_experts"),
        expert_used_count=used,
        kv_lora_rank=_number(config, "kv_lora_rank") or None,
        rope_length=_number(config, "qk_rope_head_dim") or None,
        windowed_blocks=_windowed(config.get("layer_types")),
    )


def _windowed(kinds: object) -> int | None:
    """Return the blocks that a list of their kinds of attention calls windowed, None where there is none."""
    if not isinstance(kinds, list):
        return None
    return sum(kind in {"sliding_attention", "chunked_attention"} for kind in kinds if isinstance(kind, str))


def _quantization(config: Mapping[str, Any]) -> str:
    stated = config.get("quantization_config")
    if not isinstance(stated, dict):
        stated = config.get("compression_config", config.get("quantization"))  # older; MLX
    if not isinstance(stated, dict):
        return ""
    method = _text(stated.get("quant_method") or stated.get("quant_algo") or stated.get("format"))
    bits = (
        _number(stated, "bits", "w_bit", "weight_bits") or _bits_of_flags(stated) or _bits_of_groups(stated)
    )
    if method == "compressed-tensors" and stated.get("format"):
        method = _text(stated["format"])
    if bits is not None and f"{bits}" not in method:
        return f"{method} {bits}-bit".strip()
    return method


def _bits_of_flags(stated: Mapping[str, Any]) -> int | None:
    flags = {"load_in_4bit": 4, "load_in_8bit": _BYTE_BITS}
    return next((bits for flag, bits in flags.items() if stated.get(flag) is True), None)


def _bits_of_groups(stated: Mapping[str, Any]) -> int | None:
    groups = stated.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            return _number(weights, "num_bits")
    return None


def _number(config: Mapping[str, Any], *keys: str) -> int | None:
    for key in keys:
        value = config.get(key)
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = max((each for each in value if type(each) is int), default=None)
        if type(value) is int and 0 <= value <= _COUNT_LIMIT:
            return value
    return None


def _text(value: object) -> str:
    return value[:_TEXT_LIMIT] if isinstance(value, str) else ""
