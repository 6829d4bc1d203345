"""Reads the models of an Ollama folder: ``manifests/HOST/NAMESPACE/MODEL/TAG`` and ``blobs/sha256-HEX``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aiidpd.formats.damage import Damage, Malformed
from aiidpd.formats.model_files import Algorithm, Layout, ModelFile, ModelFiles, Problem, Proof
from aiidpd.formats.stream import read_small
from aiidpd.formats.walk import Budget, entries, files_below

_MANIFEST_LIMIT_BYTES: Final = 4 * 1024**2
_LAYER_LIMIT: Final = 16_384
_DIGEST: Final = re.compile(r"sha256[:-]([0-9a-f]{64})")
_LIBRARY: Final = "registry.ollama.ai/library/"
_REGISTRY: Final = "registry.ollama.ai/"
_PARTIAL: Final = "-partial"
_NAME_PARTS: Final = 4
_IMAGE: Final = "application/vnd.ollama.image."
_SIZE_LIMIT: Final = 2**63


def is_ollama(path: Path) -> bool:
    """Return whether the folder at ``path`` is one that Ollama stores models in."""
    return (path / "manifests").is_dir() and (path / "blobs").is_dir()


def proof_of_blob(name: str) -> Proof | None:
    """Return the hash that a blob's name states, None of parts of downloads; older names have a colon."""
    match = _DIGEST.fullmatch(name)
    return Proof(Algorithm.SHA256, match[1]) if match else None


def is_left_out(name: str) -> bool:
    """Return whether a backup leaves the blob ``name`` out: a download that did not end, or a part of one."""
    return _PARTIAL in name and name.startswith("sha256")


def name_of(manifest: str) -> str:
    """Return the name of a model as ``ollama list`` shows it, by the path of its manifest."""
    model, _, tag = manifest.rpartition("/")
    return f"{model.removeprefix(_LIBRARY).removeprefix(_REGISTRY)}:{tag}"


def read_models(path: Path, budget: Budget) -> Iterator[ModelFiles]:
    """Yield the models in the folder at ``path``. Blocks; ``budget`` names manifests that can't be read."""
    root = path.resolve()
    for name in files_below(root / "manifests", budget):
        if name.count("/") != _NAME_PARTS - 1:
            continue
        manifest = root / "manifests" / name
        try:
            layers = _layers(read_small(manifest, _MANIFEST_LIMIT_BYTES))
        except (OSError, Malformed) as error:
            budget.failed(manifest, error)
            continue
        files, problems = [ModelFile(f"manifests/{name}", f"manifests/{name}", _size(manifest))], []
        for kind, digest, size in layers:
            file = _blob(root, kind, digest)
            files.append(file)
            damage = _damage(file, size)
            if damage is not None:
                problems.append(Problem(file.path, damage, damage.sentence))
        yield ModelFiles(
            layout=Layout.OLLAMA,
            name=name_of(name),
            root=str(root),
            repository=name.rpartition("/")[0],
            files=tuple(files),
            problems=tuple(problems),
        )


def leftovers(path: Path, budget: Budget) -> Iterator[ModelFile]:
    """Yield what downloads that did not end left in the folder at ``path``. Blocks."""
    root = path.resolve()
    for name in entries(root / "blobs", budget):
        if is_left_out(name):
            yield ModelFile(name, f"blobs/{name}", _size(root / "blobs" / name))


def _layers(data: bytes) -> list[tuple[str, str, int | None]]:
    """Return kind, hash and size of each part of a model; raises :class:`Malformed`."""
    try:
        manifest: Any = json.loads(data.decode())
        parts = [*manifest["layers"], manifest["config"]] if manifest.get("config") else [*manifest["layers"]]
        found = [
            (part.get("mediaType"), _DIGEST.fullmatch(part["digest"]), part.get("size")) for part in parts
        ]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise Malformed(Damage.MALFORMED, "it is no manifest of Ollama") from None
    if len(found) > _LAYER_LIMIT:
        raise Malformed(Damage.TOO_LARGE, f"it names more than {_LAYER_LIMIT} parts")
    layers = []
    for kind, digest, size in found:
        if digest is None:
            raise Malformed(Damage.MALFORMED, "it names a part by no SHA-256")
        known = type(size) is int and 0 <= size < _SIZE_LIMIT
        layers.append((_kind(kind), digest[1], size if known else None))
    return layers


def _kind(media_type: object) -> str:
    if not isinstance(media_type, str) or not media_type.startswith(_IMAGE):
        return "config"
    return media_type.removeprefix(_IMAGE).partition(";")[0][:40]


def _blob(root: Path, kind: str, digest: str) -> ModelFile:
    at = next(
        (at for at in (f"blobs/sha256-{digest}", f"blobs/sha256:{digest}") if (root / at).exists()),
        f"blobs/sha256-{digest}",
    )
    return ModelFile(f"{kind}-{digest[:12]}", at, _size(root / at), Proof(Algorithm.SHA256, digest))


def _damage(file: ModelFile, size: int | None) -> Damage | None:
    if file.size_bytes is None:
        return Damage.MISSING
    if size is None or file.size_bytes == size:
        return None
    return Damage.TRUNCATED if file.size_bytes < size else Damage.TRAILING


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None
