"""Plain folders, and those of LM Studio and ModelScope: how files of a tree form models (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from aiidpd.formats.model_files import PART_SUFFIXES, Algorithm, Layout, Proof

MODELSCOPE_TEMPORARY: Final = "._____temp"
"""Folder of ModelScope's downloads that have not ended."""
MODELSCOPE_MARKERS: Final = frozenset({".msc", ".mdl", ".mv"})
HUB_METADATA: Final = ".cache/huggingface/download/"
"""Folder in which ``hf download --local-dir`` writes a record of each file."""

_PART: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(gguf|safetensors)", re.IGNORECASE | re.DOTALL)
_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth", ".onnx", ".ckpt", ".npz")
_FOLDER_SIGNS: Final = frozenset({"config.json", "model_index.json", "params.json", "adapter_config.json"})
_METADATA_LINES: Final = 3


def group(paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the models that the files of a tree form, each with its files, in order.

    A folder with a ``config.json`` or its like, or an index of weights, and with weights at or below it, is
    one model with everything below it but GGUF files. Of what is left each GGUF file is a model, its parts
    together, and each other file of weights. A model is named by its folder, or by its file without ending.
    """
    paths = sorted(paths)
    folders = _model_folders(paths)
    models: dict[str, list[str]] = {}
    for path in paths:
        folder = next((above for above in _above(path) if above in folders), None)
        if folder is not None and not is_gguf(path):
            models.setdefault(folder, []).append(path)
        elif path.lower().endswith((*_WEIGHTS, ".gguf")):
            models.setdefault(single_name(path), []).append(path)
    return {name: tuple(files) for name, files in sorted(models.items())}


def single_name(path: str) -> str:
    """Return the name of a model that is one file, or several numbered parts of one."""
    match = _PART.fullmatch(path)
    return match[1] if match else path.rpartition(".")[0]


def missing_parts(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the parts ``NAME-00002-of-00003.gguf`` that other parts among ``paths`` say there are."""
    there = set(paths)
    missing = set[str]()
    for path in there:
        match = _PART.fullmatch(path)
        if match is None or int(match[3]) > 10_000:  # noqa: PLR2004 -- no model has so many
            continue
        for number in range(1, int(match[3]) + 1):
            missing.add(f"{match[1]}-{number:05d}-of-{match[3]}.{match[4]}")
    return tuple(sorted(missing - there))


def is_leftover(path: str) -> bool:
    """Return whether ``path`` is of a download that has not ended."""
    return path.endswith(PART_SUFFIXES) or MODELSCOPE_TEMPORARY in path.split("/")


def is_metadata(path: str) -> bool:
    """Return whether ``path`` is a note of a hub's client, and no part of a model."""
    parts = path.split("/")
    return parts[-1] in MODELSCOPE_MARKERS or ".cache" in parts[:-1] or ".git" in parts[:-1]


def layout_of(root: str, names: Iterable[str]) -> Layout:
    """Return the layout of a folder at ``root`` with ``names`` in it, by marks and names of clients."""
    parts = root.split("/")
    if MODELSCOPE_MARKERS & set(names) or "modelscope" in parts:
        return Layout.MODELSCOPE
    if ".lmstudio" in parts or "lm-studio" in parts:
        return Layout.LM_STUDIO
    return Layout.FOLDER


def modelscope_name(folder: str) -> str:
    """Return the name that ModelScope stored as ``folder``: it writes three underscores for a dot."""
    return folder.replace("___", ".")


def modelscope_revision(mark: bytes) -> str:
    """Return the revision in ModelScope's file ``.mv``, which holds ``Revision:NAME,CreatedAt:SECONDS``."""
    for field in mark[:200].decode("utf-8", "replace").split(","):
        name, _, value = field.partition(":")
        if name.strip() == "Revision":
            return value.strip()
    return ""


def hub_record(data: bytes) -> tuple[str, Proof | None, float] | None:
    """Return commit, proof and time of a ``.metadata`` file of ``hf download --local-dir``; None of others.

    The record holds as long as the file was not changed after that time.
    """
    lines = data.decode("utf-8", "replace").split("\n")
    if len(lines) < _METADATA_LINES or re.fullmatch(r"[0-9a-f]{40}", lines[0]) is None:
        return None
    try:
        seconds = float(lines[2])
    except ValueError:
        return None
    algorithms: Mapping[int, Algorithm] = {64: Algorithm.SHA256, 40: Algorithm.GIT_SHA1}
    etag = lines[1].strip()
    known = re.fullmatch(r"[0-9a-f]+", etag) and algorithms.get(len(etag))
    return lines[0], Proof(known, etag) if known else None, seconds


def is_gguf(path: str) -> bool:
    """Return whether ``path`` is called as a GGUF file."""
    return path.lower().endswith(".gguf")


def _above(path: str) -> Iterator[str]:
    """Yield the folders above ``path``, the nearest last; the first is the root, an empty text."""
    yield ""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _model_folders(paths: Iterable[str]) -> set[str]:
    """Return the folders that are one model each; of those within another, the outermost counts."""
    weighted, signed = set[str](), set[str]()
    for path in paths:
        folder, _, name = path.rpartition("/")
        lower = name.lower()
        if lower in _FOLDER_SIGNS or lower.endswith((".safetensors.index.json", ".bin.index.json")):
            signed.add(folder)
        if lower.endswith(_WEIGHTS):
            weighted.update(_above(path))
    return signed & weighted
