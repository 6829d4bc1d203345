"""Reads the headers of a model file or folder, and returns the shape that estimates stand on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiidpd.formats.caches import find_models
from aiidpd.formats.folders import is_gguf, single_name
from aiidpd.formats.inspect import inspect
from aiidpd.formats.model_files import Layout, ModelFacts, ModelFile, ModelFiles
from aiidpd.physics.kv_cache import KvShape
from aiidpd.physics.model_shape import ModelShape

_BLOCKS_LIMIT: Final = 100_000
_MOST_NAMED: Final = 5
_WINDOWED: Final = {"gemma2": 1 / 2, "gemma3": 5 / 6, "gptoss": 1 / 2, "cohere2": 3 / 4}
"""Share of blocks that attend to the window alone, by the architecture, where no file lists them."""


class NoShape(ValueError):
    """A path at which no model is whose size can be known, and why."""


@dataclass(frozen=True, slots=True)
class ReadModel:
    """Model as its headers state it; ``notes`` are for people."""

    name: str
    facts: ModelFacts
    shape: ModelShape
    hidden: int | None
    notes: tuple[str, ...]


def read_model(path: Path) -> ReadModel:
    """Read the model at ``path``; raises :class:`NoShape`. Blocks for the time of reading headers."""
    try:
        found = _one(path)
    except OSError as error:
        raise NoShape(f"cannot read {path}: {(error.strerror or 'error').lower()}") from None
    model = inspect(found)
    problems = tuple(f"{problem.path}: {problem.reason}" for problem in model.problems)
    if model.facts is None:
        raise NoShape(f"no header of a model can be read at {path}{_because(problems)}")
    try:
        shape = shape_of(model.facts, model.size_bytes)
    except ValueError as error:
        raise NoShape(f"the headers at {path} contradict themselves: {error}") from None
    notes = [f"damaged: {problem}" for problem in problems[:_MOST_NAMED]]
    if shape.kv is None:
        notes.append("its headers do not say enough to know what keys and values take")
    return ReadModel(model.name, model.facts, shape, model.facts.embedding_length, tuple(notes))


def _one(path: Path) -> ModelFiles:
    """Return the one model at ``path``, unopened."""
    if path.is_dir():
        models = find_models(path).models
        if len(models) > 1:
            names = ", ".join(model.name for model in models[:_MOST_NAMED])
            raise NoShape(
                f"{path} holds {len(models)} models: name one by its file or folder, such as {names}"
            )
        if not models:
            raise NoShape(f"{path} holds no model")
        return models[0]
    path.stat()  # raises what is wrong
    parts = [path]
    if is_gguf(path.name) and single_name(path.name) != path.name.rpartition(".")[0]:
        parts = sorted(
            each for each in path.parent.iterdir() if single_name(each.name) == single_name(path.name)
        )
    files = tuple(ModelFile(each.name, each.name, each.stat().st_size) for each in parts)
    name = single_name(path.name)
    return ModelFiles(layout=Layout.FOLDER, name=name, root=str(path.parent.resolve()), files=files)


def shape_of(facts: ModelFacts, size_bytes: int) -> ModelShape:
    """Return the shape that headers state; raises ValueError where it can be none.

    Where a tensor has a type that is not known, the files' size counts as the weights.
    """
    mixture = bool(facts.expert_bytes and facts.expert_count and facts.expert_used_count)
    return ModelShape(
        weight_bytes=facts.tensor_bytes or size_bytes,
        lookup_bytes=facts.lookup_bytes or 0,
        expert_bytes=(facts.expert_bytes or 0) if mixture else 0,
        expert_count=(facts.expert_count or 0) if mixture else 0,
        expert_used_count=(facts.expert_used_count or 0) if mixture else 0,
        block_count=facts.block_count or None,
        parameters=facts.parameters,
        active_parameters=facts.active_parameters,
        kv=kv_of(facts),
    )


def kv_of(facts: ModelFacts) -> KvShape | None:
    """Return what a token stores, None where the headers do not state it."""
    blocks = facts.block_count
    if not blocks or blocks > _BLOCKS_LIMIT:
        return None
    heads = facts.kv_heads_by_block or (facts.kv_head_count or 0,) * blocks
    if facts.kv_lora_rank is None and not (any(heads) and facts.key_length and facts.value_length):
        return None
    windowed = facts.windowed_blocks
    if facts.sliding_window and windowed is None:
        windowed = math.floor(len(heads) * _windowed_share(facts.architecture))
    return KvShape(
        kv_heads=heads,
        key_length=facts.key_length or 0,
        value_length=facts.value_length or 0,
        latent_rank=facts.kv_lora_rank or 0,
        rope_length=facts.rope_length or 0,
        window=facts.sliding_window or None,
        windowed_blocks=min(windowed or 0, len(heads)) if facts.sliding_window else 0,
    )


def _windowed_share(architecture: str) -> float:
    plain = architecture.lower().replace("-", "").replace("_", "")
    return next((share for name, share in _WINDOWED.items() if plain.startswith(name)), 1.0)


def _because(problems: tuple[str, ...]) -> str:
    return f": {problems[0]}" if problems else ""
