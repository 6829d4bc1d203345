"""View of the models on this machine, with the sizes that estimates stand on (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiidpd.kernel.views import View


@dataclass(frozen=True, slots=True)
class TensorShare:
    """Tensors of one type within a model; ``bytes`` is None for a type that is not known."""

    name: str
    tensors: int
    elements: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a model: its name within the model, where its bytes lie, and how many they are."""

    name: str
    path: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """One model as it lies on the disk; None is what its headers do not state.

    ``active_parameters`` are those that work on one token. ``kv_heads_by_block`` is empty where all blocks
    have ``kv_head_count``. ``lookup_bytes`` are those of embeddings of which a token reads one row.
    ``digest`` is of the content of all its files, where the SHA-256 of each is known, else empty; of one
    file it is that. ``engines`` names those that report it as the model that they have loaded.
    """

    name: str
    repository: str = ""
    revision: str = ""
    format: str = ""
    architecture: str = ""
    parameters: int | None = None
    active_parameters: int | None = None
    quantization: str = ""
    context_length: int | None = None
    tensor_bytes: int | None = None
    types: tuple[TensorShare, ...] = ()
    block_count: int | None = None
    embedding_length: int | None = None
    head_count: int | None = None
    kv_head_count: int | None = None
    kv_heads_by_block: tuple[int, ...] = ()
    key_length: int | None = None
    value_length: int | None = None
    vocabulary: int | None = None
    sliding_window: int | None = None
    expert_count: int | None = None
    expert_used_count: int | None = None
    expert_bytes: int | None = None
    lookup_bytes: int | None = None
    kv_lora_rank: int | None = None
    rope_length: int | None = None
    windowed_blocks: int | None = None
    size_bytes: int = 0
    damaged: bool = False
    files: tuple[StoredFile, ...] = ()
    digest: str = ""
    engines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredModels:
    """Every model that the last scan found."""

    models: tuple[StoredModel, ...] = ()


MODELS: Final[View[StoredModels]] = View("models")
