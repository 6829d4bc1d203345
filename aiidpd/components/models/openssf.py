"""Verification by the package model-signing, the extra ``signing``: nothing else of ours imports it.

It is imported when a signature is verified, in the child process that does it, and never in the daemon.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

from aiidpd.components.models.signatures import INSTALL, Signer, SignerKind
from aiidpd.formats.model_files import Hasher
from aiidpd.formats.signature import Bundle, Statement
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.readfile import read_small

_LIMIT_BYTES: Final = 2**20  # of a key, certificates or a trust config
_NETWORK_SECONDS: Final = 30.0
_LONGEST: Final = 200  # characters of a reason that a library gives


class Untrusted(Exception):
    """Finding that the signature is not of this signer."""


class Broken(Exception):
    """Finding that the signature does not match its own statement, or can't be read."""


class Unchecked(Exception):
    """Refusal to say anything, with the reason: what it takes is not there."""


def hasher(hash_type: str) -> Hasher:
    """Return a hash object of the format's ``hash_type``; raises :class:`Broken` for one that it has not."""
    if hash_type == "sha256":
        return hashlib.sha256()
    if hash_type in ("blake2", "blake2b"):
        return hashlib.blake2b()
    if hash_type == "blake3":
        import blake3  # noqa: PLC0415 -- of the extra

        made: Any = blake3.blake3()
        return cast("Hasher", made)
    raise Broken(f"its files are hashed by {hash_type or 'nothing'}, which is not known")


def verify(
    signer: Signer, data: bytes, bundle: Bundle, root: str, measure: Callable[[], Mapping[str, str]]
) -> None:
    """Return where ``data`` is a signature by ``signer`` of what ``measure`` then finds below ``root``.

    ``bundle`` is ``data``, parsed. Raises :class:`Untrusted`, :class:`Broken`, :class:`Unchecked`, and what
    ``measure`` raises: it is called, for names and hashes, once the signature itself has proven right.
    """
    verifying = _library()
    config = verifying.Config()
    if signer.kind is SignerKind.KEY:
        _readable([signer.public_key])
        with _reading(signer):
            config.use_elliptic_key_verifier(public_key=signer.public_key)
    elif signer.kind is SignerKind.CERTIFICATE:
        _readable(signer.certificates)
        with _reading(signer):
            config.use_certificate_verifier(certificate_chain=[Path(each) for each in signer.certificates])
    else:
        _use_sigstore(config, signer)
    measured = _Measured(bundle.statement, measure)
    config.set_hashing_config(measured)
    file = os.memfd_create(
        "signature", os.MFD_CLOEXEC
    )  # what was parsed is verified, whatever lies there now
    try:
        with open(file, "wb", closefd=False) as stream:
            stream.write(data)
        config.verify(Path(root), Path(f"/proc/self/fd/{file}"))
    except Exception as error:
        if measured.raised:
            raise
        raise _meaning(error, signer, bundle, measured) from error
    finally:
        os.close(file)


class _Measured:
    """Stands in for the library's own reading of files: it gets names and hashes from ``measure``."""

    def __init__(self, statement: Statement, measure: Callable[[], Mapping[str, str]]) -> None:
        self._statement = statement
        self._measure = measure
        self.began = False
        self.raised = False

    def add_ignored_paths(self, **_paths: object) -> None:
        """Do nothing: the statement has them."""

    def hash(self, model_path: Path, *, files_to_hash: Iterable[Path] | None = None) -> Any:
        """Return the manifest of what lies there. The library compares it with the one that was signed."""
        from model_signing import manifest  # noqa: PLC0415 -- of the extra

        digest_kind: Any = vars(manifest)["hashing"].Digest
        assert files_to_hash is None  # noqa: S101 -- given only where files are passed over
        self.began = self.raised = True
        found = self._measure()
        self.raised = False
        resources = self._statement.resources
        items: list[Any] = []
        for name, digest in found.items():
            value = digest_kind(resources[name].algorithm, bytes.fromhex(digest))
            if self._statement.shard_bytes:
                path, start, end = name.rsplit(":", 2)
                items.append(
                    manifest.ShardedFileManifestItem(
                        path=PurePosixPath(path), start=int(start), end=int(end), digest=value
                    )
                )
            else:
                items.append(manifest.FileManifestItem(path=PurePosixPath(name), digest=value))
        kind = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
        return manifest.Manifest(model_path.name, items, manifest.SerializationType.from_args(kind))


def _library() -> Any:
    try:
        from model_signing import verifying  # noqa: PLC0415 -- of the extra
    except ImportError as error:
        missing = error.name or "model_signing"
        raise Unchecked(f"{missing} is not installed: `{INSTALL.format(sys.prefix)}`") from None
    return verifying


def _readable(paths: Iterable[str]) -> None:
    for path in paths:
        try:
            read_small(Path(path), _LIMIT_BYTES)
        except Misconfigured as error:
            raise Unchecked(f"{path} can't be read: {error.reason}") from None


@contextmanager
def _reading(signer: Signer) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        where = signer.public_key or ", ".join(signer.certificates) or signer.trust_config
        raise Unchecked(f"the signer {signer.name} can't be used: {where}: {_words(error)}") from error


def _use_sigstore(config: Any, signer: Signer) -> None:
    """Have ``config`` verify by sigstore; without a trust config that fetches the public instance's roots."""
    trust = Path(signer.trust_config) if signer.trust_config else None
    given = {"identity": signer.identity, "oidc_issuer": signer.issuer, "trust_config": trust}
    if trust is not None:
        _readable([signer.trust_config])
        with _reading(signer):
            config.use_sigstore_verifier(**given)
        return
    failed: list[Exception] = []

    def fetch() -> None:
        try:
            config.use_sigstore_verifier(**given)
        except Exception as error:  # noqa: BLE001 -- named below
            failed.append(error)

    thread = threading.Thread(target=fetch, daemon=True)
    with _room_for_roots():
        thread.start()
        thread.join(_NETWORK_SECONDS)
    if failed or thread.is_alive():
        reason = _words(failed[0]) if failed else f"no answer within {_NETWORK_SECONDS:g} s"
        raise Unchecked(
            f"sigstore's roots of trust can't be fetched ({reason}): it takes the network, or a "
            f"trust_config of the signer {signer.name}"
        )


@contextmanager
def _room_for_roots() -> Iterator[None]:
    """Have the library store what it fetches in a folder that goes: a service's user has no home."""
    names = ("XDG_DATA_HOME", "XDG_CACHE_HOME")
    before = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="aiidpd-roots-", ignore_cleanup_errors=True) as folder:
        os.environ.update(dict.fromkeys(names, folder))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _meaning(error: Exception, signer: Signer, bundle: Bundle, measured: _Measured) -> Exception:
    """Return what an error of the library says of the signature."""
    kind = type(error).__name__
    unnamed = signer.kind is SignerKind.KEY and not bundle.key_hint  # an older signature names no key
    if str(error).startswith("Key mismatch") or (kind == "InvalidSignature" and unnamed):
        return Untrusted("it was made with another key")
    if kind == "InvalidSignature":
        return Broken("it does not match its own statement")
    if kind == "X509StoreContextError":
        return Untrusted(f"its certificate is not of these authorities: {_words(error)}")
    if kind == "VerificationError" or str(error).startswith("Signing certificate cannot"):
        return Untrusted(_words(error))
    return Broken(f"it does not match: {_words(error)}" if measured.began else f"unusable: {_words(error)}")


def _words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
