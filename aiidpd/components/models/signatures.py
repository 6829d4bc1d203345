"""Signatures of models: what lies beside one, who is trusted, what a verification found (pure)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from aiidpd.components.models.scanned import FileStamp, ScannedModel

INSTALL: Final = "python3 -m pip --python {}/bin/python install 'aiidpd[signing]'"
"""Command that installs what verifies signatures, into an environment that may have no pip of its own."""


class SignatureState(StrEnum):
    """State of a model's signature."""

    NONE = "none"
    """No signature lies beside the model."""
    UNVERIFIED = "unverified"
    """One does, and it was not verified since model, signature or signers changed."""
    VALID = "valid"
    INVALID = "invalid"
    """It does not match the model, or is none."""
    NOT_TRUSTED = "not_trusted"
    """No configured signer made it."""
    NOT_CHECKED = "not_checked"
    """It can't be verified here and now."""


class SignerKind(StrEnum):
    """Proof by which a signer is known; the values are those of :class:`~aiidpd.formats.signature.Method`."""

    KEY = "key"
    CERTIFICATE = "certificate"
    SIGSTORE = "sigstore"


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody whose signatures count, for the models called ``models``; for all where that is empty."""

    name: str
    kind: SignerKind
    public_key: str = ""
    certificates: tuple[str, ...] = ()
    identity: str = ""
    issuer: str = ""
    trust_config: str = ""
    models: tuple[str, ...] = ()

    def names(self, model: ScannedModel) -> bool:
        """Return whether ``models`` has ``model``: by its name, a pattern of it, or a folder above it."""
        paths = [file.path for file in model.files]
        for each in self.models:
            if each.startswith("/"):
                folder = each.rstrip("/")
                if paths and all(path.startswith(f"{folder}/") for path in paths):
                    return True
            elif fnmatchcase(model.model.name, each) or fnmatchcase(model.label, each):
                return True
        return False


@dataclass(frozen=True, slots=True)
class SignatureRecord:
    """Finding of a verification; it holds for this ``fingerprint``, this file and this ``trust``."""

    state: SignatureState
    fingerprint: str
    stamp: FileStamp | None
    trust: str
    at: float
    signer: str = ""
    reason: str = ""


def signers_for(signers: Iterable[Signer], model: ScannedModel) -> tuple[Signer, ...]:
    """Return the signers whose signature of ``model`` counts."""
    return tuple(each for each in signers if not each.models or each.names(model))


def is_required(signers: Iterable[Signer], model: ScannedModel) -> bool:
    """Return whether a signer is configured for ``model`` in particular: then it must be signed."""
    return any(each.names(model) for each in signers)


def is_wrong(state: SignatureState, *, required: bool) -> bool:
    """Return whether a signature does not match, or is missing or not trusted where it is required."""
    missing = required and state in (SignatureState.NONE, SignatureState.NOT_TRUSTED)
    return missing or state is SignatureState.INVALID


def trust_of(signers: Iterable[Signer]) -> str:
    """Return a digest of ``signers``, which changes with any of them."""
    return hashlib.sha256(repr(sorted(map(repr, signers))).encode()).hexdigest()[:16]


def is_current(record: SignatureRecord, model: ScannedModel, trust: str) -> bool:
    """Return whether what was found still holds. A mismatch does until another verification.

    A file that is not of the model's own, such as one that was added since, changes nothing here: a state is
    as of its time.
    """
    found = model.signature
    if found is None:
        return False
    if record.state is SignatureState.INVALID:
        return True
    same = record.fingerprint == model.fingerprint and record.stamp == found.stamp
    return same and record.trust == trust
