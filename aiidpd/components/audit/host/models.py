"""Facts of models on the disk that no header states: who may write them, and whether they bring code."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from aiidpd.components.audit.facts import ModelFacts
from aiidpd.contracts.models import StoredFile, StoredModel
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.readfile import read_small

_MOST_MODELS: Final = 1000
_MOST_FILES: Final = 2000
_LARGEST: Final = 1 << 20
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
_SAFE: Final = (".safetensors", ".gguf", ".onnx")
_NO_WEIGHTS: Final = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin"})
_MAGIC: Final = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def model_facts(models: Iterable[StoredModel]) -> tuple[ModelFacts, ...]:
    """Return the facts of ``models``, at most a thousand. Blocks; what can't be read counts as not so."""
    return tuple(_facts(each) for _, each in zip(range(_MOST_MODELS), models, strict=False))


def _facts(model: StoredModel) -> ModelFacts:
    files = model.files[:_MOST_FILES]
    names = [each.name for each in files]
    return ModelFacts(
        model.name,
        os.path.commonpath([Path(each.path).parent for each in files]) if files else "",
        tuple(_pickles(files)),
        any(name.lower().endswith(_SAFE) for name in names),
        any(_brings_code(each) for each in files if each.name.rpartition("/")[2] == "config.json"),
        tuple(each.name for each in files if _everybody_writes(each.path)),
    )


def _pickles(files: Iterable[StoredFile]) -> Iterator[str]:
    for each in files:
        name = each.name.rpartition("/")[2].lower()
        if name.endswith(_PICKLES) and name not in _NO_WEIGHTS and _is_pickle(each.path):
            yield each.name


def _is_pickle(path: str) -> bool:
    """Return whether the file begins as a pickle or an archive of one; what can't be read may be one."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 -- no Path is made for each of thousands
            return file.read(4).startswith(_MAGIC)
    except OSError:
        return True


def _brings_code(file: StoredFile) -> bool:
    try:
        document = json.loads(read_small(Path(file.path), _LARGEST))
    except (Misconfigured, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and bool(document.get("auto_map"))


def _everybody_writes(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & stat.S_IWOTH)  # noqa: PTH116 -- as above
    except OSError:
        return False
