"""A model as it lies on the disk: layout, name, files with the proofs of their content, facts (pure)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from aiidpd.formats.damage import Damage

_ADVISORY: Final = {"advisory": True}
"""Of a field that records of models may lack: older ones were written before it was there."""


class Hasher(Protocol):
    """Hash object that is being fed."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class Algorithm(StrEnum):
    """Hash that proves content."""

    SHA256 = "sha256"
    GIT_SHA1 = "git-sha1"
    """SHA-1 over ``blob <size>``, a zero byte, and the content: the name that git gives a file."""


class Proof(NamedTuple):
    """Hash that a file's content must have, as its cache's names or records say."""

    algorithm: Algorithm
    hex: str

    def hasher(self, size_bytes: int) -> Hasher:
        """Return a hash object for the content of a file of ``size_bytes``; its digest should be ``hex``."""
        if self.algorithm is Algorithm.SHA256:
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)


class Layout(StrEnum):
    """Whoever arranged the files: the cache or program that a model lies in."""

    HUGGING_FACE = "huggingface"
    OLLAMA = "ollama"
    MODELSCOPE = "modelscope"
    LM_STUDIO = "lmstudio"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class TypeShare:
    """Tensors of one type within a model."""

    name: str
    tensors: int
    elements: int
    bytes: int | None
    """Size in bytes; None for a type that is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Facts that headers and configuration files state of a model; None or empty: not stated.

    Texts are as somebody else wrote them, if bounded: they are escaped by whoever shows them.
    """

    format: str
    """``gguf`` or ``safetensors``."""
    architecture: str = ""
    name: str = ""
    parameters: int | None = None
    """Sum over the shapes of all tensors; None where weights are packed several to an element."""
    quantization: str = ""
    """As the file or its configuration calls it, such as ``Q4_K_M``, ``gptq 4-bit``, ``BF16``."""
    types: tuple[TypeShare, ...] = ()
    """Types of the tensors as they really are, the largest first."""
    context_length: int | None = None
    block_count: int | None = None
    embedding_length: int | None = None
    head_count: int | None = None
    kv_head_count: int | None = None
    kv_heads_by_block: tuple[int, ...] = ()
    """KV heads of each block, where blocks differ."""
    key_length: int | None = None
    value_length: int | None = None
    vocabulary: int | None = None
    sliding_window: int | None = None
    expert_count: int | None = None
    expert_used_count: int | None = None
    expert_parameters: int | None = None
    """Parameters of experts, of which ``expert_used_count`` of ``expert_count`` work on a token."""
    expert_bytes: int | None = None
    tensor_count: int = 0
    tensor_bytes: int | None = None
    """Bytes of all tensors; None where one has a type that is not known here."""
    lookup_bytes: int | None = field(default=None, metadata=_ADVISORY)
    """Bytes of tables of which a token reads one row: embeddings, where the output has its own table."""
    kv_lora_rank: int | None = field(default=None, metadata=_ADVISORY)
    """Width of the latent that multi-head latent attention stores in the place of keys and values."""
    rope_length: int | None = field(default=None, metadata=_ADVISORY)
    """Width of the rotary part that is stored beside that latent."""
    windowed_blocks: int | None = field(default=None, metadata=_ADVISORY)
    """Blocks that attend to ``sliding_window`` tokens alone, where the configuration lists them."""

    @property
    def active_parameters(self) -> int | None:
        """Return the parameters that work on one token; None where they can't be known."""
        if self.parameters is None or not self.expert_count:
            return self.parameters
        if self.expert_used_count is None or self.expert_parameters is None:
            return None
        idle = self.expert_parameters * (self.expert_count - self.expert_used_count) // self.expert_count
        return self.parameters - idle


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model. Names are as :func:`os.fsdecode` gives them."""

    path: str
    """Name within the model, such as ``model.safetensors``."""
    at: str
    """Path from the root to the bytes, links followed; absolute where they lie outside of it."""
    size_bytes: int | None
    """None where nothing is there: a dangling link, or a part that is missing."""
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Damage of one file of a model."""

    path: str
    damage: Damage
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One model as it lies in a folder or cache."""

    layout: Layout
    name: str
    """Name for people: ``Qwen/Qwen3-8B``, ``qwen3:8b``, ``folder/file-Q4_K_M``."""
    root: str
    """Absolute path that ``ModelFile.at`` starts from."""
    repository: str = ""
    """Repository on the hub or registry; empty where not known."""
    revision: str = ""
    """Commit, or empty where not known."""
    refs: tuple[str, ...] = ()
    """Branches and tags that meant this revision when they were last resolved."""
    files: tuple[ModelFile, ...] = ()
    facts: ModelFacts | None = None
    problems: tuple[Problem, ...] = field(default=())

    @property
    def size_bytes(self) -> int:
        """Return the bytes of its files, each payload once."""
        return sum({file.at: file.size_bytes or 0 for file in self.files}.values())


@dataclass(frozen=True, slots=True)
class Listing:
    """Models found below a folder."""

    models: tuple[ModelFiles, ...] = ()
    leftovers: tuple[ModelFile, ...] = ()
    """Files of downloads that never ended."""
    unreadable: tuple[str, ...] = ()
    """Paths that could not be read, each with its reason."""
    complete: bool = True
    """False where a bound was met, so that there is more."""


PART_SUFFIXES: Final = (
    ".incomplete",
    ".part",
    ".partial",
    ".download",
    ".aria2",
    ".downloadInProgress",
    ".crdownload",
)
"""Endings of files that a download has not ended yet."""
