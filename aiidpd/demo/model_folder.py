"""A small model folder for a machine that has none: valid files, random weights, no model that talks."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from pathlib import Path

from aiidpd.platform.atomic import write_atomic

_VOCABULARY, _HIDDEN, _FEED_FORWARD = 512, 256, 512
_ALIGNMENT = 32
_GGUF_UINT32, _GGUF_FLOAT32, _GGUF_STRING = 4, 6, 8
_GGML_F32 = 0
_SHAPES = {"embed": (_VOCABULARY, _HIDDEN), "up": (_FEED_FORWARD, _HIDDEN), "norm": (_HIDDEN,)}


def make_model_folder(path: Path) -> None:
    """Make ``path`` hold ``model.safetensors``, ``model.gguf`` and ``config.json``, about 2 MiB together.

    The content is always the same, and a file that has it already is not touched, so that a second
    backup finds nothing changed. Blocks; raises :class:`OSError`.
    """
    path.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": _VOCABULARY,
        "hidden_size": _HIDDEN,
        "intermediate_size": _FEED_FORWARD,
        "torch_dtype": "float32",
    }
    files = {
        "config.json": json.dumps(config, indent=2).encode() + b"\n",
        "model.safetensors": _safetensors(),
        "model.gguf": _gguf(),
    }
    for name, data in files.items():
        file = path / name
        if not file.is_file() or file.read_bytes() != data:
            write_atomic(file, data)


def _tensor(name: str) -> bytes:
    """Return the tensor ``name`` of ``_SHAPES`` as little-endian float32: small numbers, always the same."""
    row = [random.Random(f"{name} {index}").uniform(-0.05, 0.05) for index in range(_HIDDEN)]  # noqa: S311
    rows = _SHAPES[name][0] if len(_SHAPES[name]) > 1 else 1
    turned = (row[index % _HIDDEN :] + row[: index % _HIDDEN] for index in range(rows))
    return b"".join(struct.pack(f"<{_HIDDEN}f", *values) for values in turned)


def _safetensors() -> bytes:
    """Return a safetensors file: length of the header, JSON header padded to 8 bytes, tensors."""
    names = {
        "model.embed_tokens.weight": "embed",
        "model.layers.0.mlp.up_proj.weight": "up",
        "model.norm.weight": "norm",
    }
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in names.items():
        content = _tensor(tensor)
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": "F32", "shape": list(_SHAPES[tensor]), "data_offsets": offsets}
        data += content
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return struct.pack("<Q", len(encoded)) + encoded + data


def _gguf() -> bytes:
    """Return a GGUF file, version 3: head, metadata, tensor table, then tensors aligned to 32 bytes."""
    metadata: Mapping[str, str | int | float] = {
        "general.architecture": "llama",
        "general.name": "aiidpd demo",
        "general.alignment": _ALIGNMENT,
        "llama.context_length": 512,
        "llama.embedding_length": _HIDDEN,
        "llama.block_count": 1,
        "llama.feed_forward_length": _FEED_FORWARD,
        "llama.attention.head_count": 8,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
    }
    names = {"token_embd.weight": "embed", "blk.0.ffn_up.weight": "up", "output_norm.weight": "norm"}
    table, data = b"", b""
    for name, tensor in names.items():
        dimensions = _SHAPES[tensor][::-1]  # the format names the fastest dimension first
        table += _gguf_string(name) + struct.pack("<I", len(dimensions))
        table += struct.pack(f"<{len(dimensions)}Q", *dimensions) + struct.pack("<IQ", _GGML_F32, len(data))
        data += _tensor(tensor)
        data += bytes(-len(data) % _ALIGNMENT)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(names), len(metadata))
    head += b"".join(_gguf_string(key) + _gguf_value(value) for key, value in metadata.items()) + table
    return head + bytes(-len(head) % _ALIGNMENT) + data


def _gguf_string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _gguf_value(value: str | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _GGUF_STRING) + _gguf_string(value)
    if isinstance(value, int):
        return struct.pack("<II", _GGUF_UINT32, value)
    return struct.pack("<If", _GGUF_FLOAT32, value)
