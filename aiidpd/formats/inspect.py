"""Opens the files of a model as it lies on the disk: facts of its headers, damage that shows in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from aiidpd.formats.check import FileCheck, check_file
from aiidpd.formats.damage import Damage, Malformed
from aiidpd.formats.folders import is_gguf, missing_parts, single_name
from aiidpd.formats.gguf import GgufHeader
from aiidpd.formats.hub_config import CONFIG_LIMIT_BYTES, HubConfig, read_config
from aiidpd.formats.model_files import Layout, ModelFacts, ModelFile, ModelFiles, Problem
from aiidpd.formats.safetensors import SafetensorsHeader, SafetensorsIndex, read_index
from aiidpd.formats.stream import read_small
from aiidpd.formats.tensors import merged, total_bytes

_INDEX: Final = ".safetensors.index.json"
_OLLAMA_GGUF: Final = ("model-", "projector-", "adapter-")
_PROJECTOR: Final = "clip"


def inspect(model: ModelFiles) -> ModelFiles:
    """Return ``model`` with facts and problems. Blocks for the time of reading the headers of its files.

    A file that can't be read for another reason than its content is a problem too, with the system's reason.
    """
    problems = list(model.problems)
    known = {problem.path for problem in problems}
    checks: dict[str, FileCheck] = {}
    for file in model.files:
        if file.path in known:
            continue
        gguf = model.layout is Layout.OLLAMA and file.path.startswith(_OLLAMA_GGUF)
        name = f"{file.path}.gguf" if gguf else file.path
        try:
            checks[file.path] = found = check_file(Path(model.root, file.at), name)
        except OSError as error:
            reason = f"{Damage.UNREADABLE.sentence} ({(error.strerror or 'error').lower()})"
            problems.append(Problem(file.path, Damage.UNREADABLE, reason))
            continue
        if found.damage is not None:
            problems.append(Problem(file.path, found.damage, found.reason))
    index = _index(model)
    expected = [*missing_parts(file.path for file in model.files), *(index[1] if index else ())]
    there = {file.path for file in model.files}
    problems += [
        Problem(path, Damage.MISSING, Damage.MISSING.sentence)
        for path in dict.fromkeys(expected)
        if path not in there
    ]
    facts = _facts(model, checks, index[0] if index else None)
    return replace(model, facts=facts, problems=tuple(problems))


def variants(model: ModelFiles) -> Iterator[ModelFiles]:
    """Yield ``model``, or each GGUF file of a repository that has several, with the files that all share.

    Each is called as llama.cpp calls it, but by its file's name: ``OWNER/NAME:FILE``.
    """
    groups: dict[str, list[ModelFile]] = {}
    for file in model.files:
        if is_gguf(file.path) and not _is_projector(file.path):
            groups.setdefault(single_name(file.path), []).append(file)
    if len(groups) <= 1 or any(file.path.endswith(".safetensors") for file in model.files):
        yield model
        return
    shared = [file for file in model.files if not is_gguf(file.path) or _is_projector(file.path)]
    for name, files in groups.items():
        paths = {file.path for file in (*files, *shared)}
        yield replace(
            model,
            name=f"{model.name}:{name}",
            files=(*files, *shared),
            problems=tuple(problem for problem in model.problems if problem.path in paths),
        )


def _is_projector(path: str) -> bool:
    return "mmproj" in path.rpartition("/")[2].lower()


def _index(model: ModelFiles) -> tuple[SafetensorsIndex, tuple[str, ...]] | None:
    """Return the first index of the model with the paths that it names."""
    for file in model.files:
        if file.path.endswith(_INDEX):
            try:
                index = read_index(Path(model.root, file.at))
            except (OSError, Malformed):
                continue
            folder = file.path.rpartition("/")[0]
            return index, tuple(f"{folder}/{name}" if folder else name for name in index.files)
    return None


def _facts(
    model: ModelFiles, checks: dict[str, FileCheck], index: SafetensorsIndex | None
) -> ModelFacts | None:
    tensors = [check.header for check in checks.values() if isinstance(check.header, SafetensorsHeader)]
    if tensors:
        experts = (
            sum(header.expert_elements for header in tensors),
            sum(header.expert_bytes or 0 for header in tensors),
        )
        types = merged(header.types for header in tensors)
        return _config(model).facts(
            types,
            parameters=index.parameters if index else None,
            experts=experts,
            lookup_bytes=_lookup_bytes(tensors),
            name=_pipeline(model),
        )
    headers = [check.header for check in checks.values() if isinstance(check.header, GgufHeader)]
    mains = [header for header in headers if header.architecture != _PROJECTOR] or headers
    if not mains:
        return None
    first = min(mains, key=lambda header: header.split or (1, 1))
    parts = [header for header in mains if first.split and header.split] or [first]
    facts = first.facts()
    if len(parts) == 1:
        return facts
    types = merged(header.types for header in parts)
    return replace(
        facts,
        parameters=sum(share.elements for share in types),
        quantization=first.file_type or types[0].name,
        types=types,
        expert_parameters=sum(header.expert_elements for header in parts) or None,
        expert_bytes=sum(header.expert_bytes or 0 for header in parts) or None,
        tensor_count=sum(share.tensors for share in types),
        tensor_bytes=total_bytes(types),
        lookup_bytes=_lookup_bytes(parts),
    )


def _lookup_bytes(headers: Sequence[GgufHeader | SafetensorsHeader]) -> int | None:
    """Return the bytes of embeddings of a model in several files, 0 where its output reads them all."""
    if not any(header.has_output for header in headers):
        return 0
    sizes = [header.lookup_bytes for header in headers]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _config(model: ModelFiles) -> HubConfig:
    """Return the configuration nearest to the model's folder; an empty one where none can be read."""
    paths = sorted(
        (file.path.count("/"), file.path, file.at)
        for file in model.files
        if file.path.rpartition("/")[2] == "config.json"
    )
    for _, _, at in paths[:1]:
        try:
            return read_config(Path(model.root, at))
        except (OSError, Malformed):
            break
    return HubConfig()


def _pipeline(model: ModelFiles) -> str:
    """Return the class of a pipeline of several models, as diffusers has them, or an empty text."""
    for file in model.files:
        if file.path.rpartition("/")[2] == "model_index.json":
            try:
                pipeline = json.loads(read_small(Path(model.root, file.at), CONFIG_LIMIT_BYTES).decode())
            except (OSError, ValueError, RecursionError):
                return ""
            name = pipeline.get("_class_name") if isinstance(pipeline, dict) else None
            return name[:200] if isinstance(name, str) else ""
    return ""
