"""View of the models for other components (pure)."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import PurePosixPath

from aiidpd.components.models.registry import Known, sha256_of
from aiidpd.components.models.scanned import ScannedModel
from aiidpd.components.models.uses import UseKind
from aiidpd.contracts.models import StoredFile, StoredModel, StoredModels, TensorShare
from aiidpd.formats.model_files import ModelFacts


def stored_models(known: Known) -> StoredModels:
    """Return what other components may know of all models."""
    return StoredModels(tuple(stored_model(each, known) for each in known.scan.models))


def stored_model(scanned: ScannedModel, known: Known) -> StoredModel:
    """Return what other components may know of one model."""
    model, facts = scanned.model, scanned.model.facts
    given = asdict(facts) if facts is not None else {}
    same = {name for name in ModelFacts.__dataclass_fields__ if name in StoredModel.__dataclass_fields__}
    return StoredModel(
        **{key: value for key, value in given.items() if key in same - {"name", "types"}},
        name=scanned.label,
        repository=model.repository,
        revision=model.revision,
        active_parameters=facts.active_parameters if facts is not None else None,
        types=tuple(
            TensorShare(each.name, each.tensors, each.elements, each.bytes)
            for each in (facts.types if facts is not None else ())
        ),
        size_bytes=sum(file.stamp.size_bytes for file in scanned.files),
        damaged=bool(model.problems),
        files=tuple(
            StoredFile(file.path, str(PurePosixPath(model.root, file.at)), file.size_bytes)
            for file in model.files
        ),
        digest=digest_of(scanned, known),
        engines=tuple(each.engine for each in known.uses.get(scanned.key, ()) if each.kind is UseKind.LOADED),
    )


def digest_of(scanned: ScannedModel, known: Known) -> str:
    """Return the digest of the content of all files; empty where that of one is not known."""
    found = [(file.names, sha256_of(known, file)[0]) for file in scanned.files]
    if not found or not all(digest for _, digest in found):
        return ""
    if len(found) == 1:
        return f"sha256:{found[0][1]}"
    whole = hashlib.sha256(repr(sorted(found)).encode("utf-8", "surrogatepass"))
    return f"sha256:{whole.hexdigest()} of {len(found)} files"
