"""Signatures of models as OpenSSF Model Signing writes them: what a bundle states, unverified (pure).

A bundle is a sigstore bundle in JSON: an envelope with a statement of names and hashes, a signature over it,
and what may prove whose it is. Nothing that this module returns is proven.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Final

from aiidpd.formats import der

LIMIT_BYTES: Final = 4 * 2**20
"""Largest bundle: the statement of a model with some 13,000 files. Parsing the worst one takes 150 MB."""
_LONGEST: Final = 300  # characters of a text
_PREDICATE: Final = "https://model_signing/signature/v1.0"
_OLDER_PREDICATE: Final = "https://model_signing/Digests/v0.1"
_GIT: Final = (".git", ".gitattributes", ".github", ".gitignore")
_LARGEST_SHARD: Final = 1 << 53


class Method(StrEnum):
    """Proof by which a signature can be verified."""

    KEY = "key"
    CERTIFICATE = "certificate"
    SIGSTORE = "sigstore"


class BadBundle(ValueError):
    """Refusal of a file that is no signature of a model, with the reason."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Hash that a file, or a shard of one, must have."""

    algorithm: str
    hex: str


@dataclass(frozen=True, slots=True)
class Statement:
    """Names and hashes that were signed, and by which rules they were made."""

    subject: str
    hash_type: str
    shard_bytes: int
    """Size of a shard; 0 where files are hashed whole."""
    follows_links: bool
    ignored: tuple[PurePosixPath, ...]
    """Paths within the model that the signature does not cover."""
    resources: Mapping[str, Resource]

    @property
    def of_one_file(self) -> bool:
        """Return whether a single file was signed, not a folder."""
        return bool(self.resources) and all(name.partition(":")[0] == "." for name in self.resources)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Claims of a signature: method, hint at the key, names in the certificate; and its statement."""

    method: Method
    key_hint: str
    """SHA-256 of the public key's PEM, as the signer states it; empty where not stated."""
    identity: str
    issuer: str
    statement: Statement


def parse(data: bytes) -> Bundle:
    """Return what the bundle ``data`` states; raises :class:`BadBundle`."""
    document = _object(_json(data), "it is no JSON object")
    material = _object(document.get("verificationMaterial"), "it has no verification material")
    envelope = _object(document.get("dsseEnvelope"), "it has no envelope")
    payload = _base64(envelope.get("payload"), "its envelope has no statement")
    statement = _statement(_object(_json(payload), "its statement is no JSON object"))
    method, certificate = _method(material)
    identity, issuer, hint = "", "", ""
    if method is Method.KEY:
        hint = _text(_object(material["publicKey"], "its key is no object").get("hint"))
    elif method is Method.SIGSTORE:
        try:
            identity, issuer = der.identity_of(_base64(certificate, "it has no certificate"))
        except der.Malformed as error:
            raise BadBundle(f"its certificate can't be read: {error}") from None
    return Bundle(method, hint, identity, issuer, statement)


def may_be_bundle(data: bytes) -> bool:
    """Return whether ``data`` begins as a bundle does: other tools call their signatures ``.sig`` too."""
    return data[:100].lstrip()[:1] == b"{"


def _method(material: Mapping[str, Any]) -> tuple[Method, object]:
    if "publicKey" in material:
        return Method.KEY, None
    if "certificate" in material:
        return Method.SIGSTORE, _object(material["certificate"], "its certificate is no object").get(
            "rawBytes"
        )
    chain = _object(material.get("x509CertificateChain"), "it names neither a key nor a certificate")
    listed = chain.get("certificates")
    first = listed[0] if isinstance(listed, list) and listed else None
    raw = _object(first, "its chain has no certificate").get("rawBytes")
    return (Method.SIGSTORE if material.get("tlogEntries") else Method.CERTIFICATE), raw


def _statement(payload: Mapping[str, Any]) -> Statement:
    kind, subjects = payload.get("predicateType"), payload.get("subject")
    if kind not in (_PREDICATE, _OLDER_PREDICATE):
        raise BadBundle(f"it states something else than a model: {_text(kind)}")
    if not isinstance(subjects, list) or not subjects:
        raise BadBundle("its statement has no subject")
    if kind == _OLDER_PREDICATE:
        return _older(subjects)
    predicate = _object(payload.get("predicate"), "its statement has no predicate")
    rules = _object(predicate.get("serialization"), "its statement has no rules of hashing")
    listed = predicate.get("resources")
    if not isinstance(listed, list):
        raise BadBundle("its statement lists no files")
    whole = rules.get("method") == "files"
    resources: dict[str, Resource] = {}
    for each in listed:
        one = _object(each, "its statement lists no files")
        resource = Resource(_text(one.get("algorithm")), _hex(one.get("digest")))
        resources[_name(one.get("name"), whole=whole)] = resource
    if rules.get("method") not in ("files", "shards"):
        raise BadBundle(f"its files are hashed in a way that is not known: {_text(rules.get('method'))}")
    shards = 0 if whole else _shard_bytes(rules.get("shard_size"))
    ignored = rules.get("ignore_paths")
    return Statement(
        _text(_object(subjects[0], "its subject is no object").get("name")),
        _text(rules.get("hash_type")),
        shards,
        bool(rules.get("allow_symlinks")),
        (*map(PurePosixPath, _GIT), *_ignored(ignored)),
        resources,
    )


def _shard_bytes(value: object) -> int:
    """Return the size of a shard: protobuf writes it as a number with a fraction of zero."""
    whole = type(value) is int or (isinstance(value, float) and value.is_integer())
    if not whole or not 1 <= value <= _LARGEST_SHARD:  # type: ignore[operator]  # it is a number
        raise BadBundle("its shards have no size")
    return int(value)  # type: ignore[call-overload,no-any-return]


def _older(subjects: list[Any]) -> Statement:
    """Return the statement that version 0.2 of the format made of its subjects."""
    resources: dict[str, Resource] = {}
    for each in subjects:
        one = _object(each, "its statement lists no files")
        digest = _object(one.get("digest"), "its statement has no hash of a file")
        resources[_name(one.get("name"), whole=True)] = Resource("sha256", _hex(digest.get("sha256")))
    return Statement("", "sha256", 0, True, tuple(map(PurePosixPath, _GIT)), resources)


def _ignored(listed: object) -> list[PurePosixPath]:
    paths = (
        [PurePosixPath(each) for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
    )
    return [path for path in paths if path.parts and not path.is_absolute() and ".." not in path.parts]


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise BadBundle("it is no JSON") from None


def _object(value: object, reason: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadBundle(reason)
    return value


def _base64(value: object, reason: str) -> bytes:
    if not isinstance(value, str):
        raise BadBundle(reason)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadBundle("it holds text that is no base64") from None


def _name(value: object, *, whole: bool) -> str:
    if not isinstance(value, str) or not value:
        raise BadBundle("its statement has a file without name")
    return str(PurePosixPath(value)) if whole else value


def _hex(value: object) -> str:
    if not isinstance(value, str):
        raise BadBundle("its statement has no hash of a file")
    return value.lower()


def _text(value: object) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""
