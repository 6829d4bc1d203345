"""Layout of a Hugging Face cache, by names and link targets alone (pure).

As huggingface_hub 2 makes it::

    CACHEDIR.TAG
    .locks/models--OWNER--NAME/ETAG.lock
    blobs/.huggingface-shared-blobs          marks the store that repositories share
    blobs/XX/XET_HASH                        payload; XX are the first two digits of its Xet hash
    blobs/XX/XET_HASH.refs, .lock            links that lead to it; lock
    models--OWNER--NAME/blobs/ETAG           link to ../../blobs/XX/XET_HASH, or the payload itself
    models--OWNER--NAME/blobs/ETAG.XXXXXXXX.incomplete
    models--OWNER--NAME/snapshots/COMMIT/FILE    link to ../../blobs/ETAG; a copy where links are not possible
    models--OWNER--NAME/refs/BRANCH          holds the commit
    models--OWNER--NAME/trees/COMMIT.json, .no_exist/COMMIT/FILE

Only files that were downloaded through Xet are shared; in older caches none is. Paths are relative, as
:func:`os.fsdecode` gives them, with ``/`` between.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

from aiidpd.formats.model_files import Algorithm, Proof

SHARED_STORE: Final = "blobs"
SHARED_MARKER: Final = ".huggingface-shared-blobs"
SHARED_MARKER_CONTENT: Final = b"1\n"
LOCKS: Final = ".locks"

_KINDS: Final = {"models": "model", "datasets": "dataset", "spaces": "space", "kernels": "kernel"}
_FOLDER: Final = re.compile(rf"({'|'.join(_KINDS)})--(.+)", re.DOTALL)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_TEMPORARY: Final = re.compile(
    r".+\.incomplete|.+\.lock|.+\.lock\.soft|\..+\.[0-9a-f]{8}\.shared|.+\.[0-9a-f]{8}\.tmp", re.DOTALL
)


class Repository(NamedTuple):
    """Repository that a folder of the cache is named after."""

    kind: str
    """``model``, ``dataset``, ``space`` or ``kernel``."""
    id: str
    """``OWNER/NAME``, or a name alone."""


class Place(StrEnum):
    """Role of a path in a cache."""

    BLOB = "blob"
    """``models--X/blobs/ETAG``: its name may prove the content that it reaches."""
    SHARED = "shared"
    """Payload of the shared store, named by its Xet hash, which proves nothing here."""
    SNAPSHOT = "snapshot"
    """File of a revision."""
    REF = "ref"
    TEMPORARY = "temporary"
    """Lock, unfinished download, or link that is about to be renamed: never worth a copy."""
    OTHER = "other"


def repository_of(folder: str) -> Repository | None:
    """Return the repository of a folder such as ``models--OWNER--NAME``."""
    match = _FOLDER.fullmatch(folder)
    if match is None or "/" in folder:
        return None
    return Repository(_KINDS[match[1]], match[2].replace("--", "/"))


def folder_of(repository: Repository) -> str:
    """Return the folder of ``repository`` in a cache."""
    return "--".join((f"{repository.kind}s", *repository.id.split("/")))


def proof_of(blob: str) -> Proof | None:
    """Return the hash that the name of a ``models--X/blobs/`` entry states of the content that it reaches.

    64 hexadecimal digits are the SHA-256 of a file in LFS, 40 the SHA-1 that git gives it. Other names come
    from other servers and prove nothing. Not for names below ``blobs/XX/``: those are Xet hashes.
    """
    if _SHA256.fullmatch(blob):
        return Proof(Algorithm.SHA256, blob)
    if _SHA1.fullmatch(blob):
        return Proof(Algorithm.GIT_SHA1, blob)
    return None


def place_of(path: str) -> Place:
    """Return the role of ``path``, of which the cache or folders above it may be a part.

    A source that is one repository's folder must give that folder's name as the beginning of ``path``.
    """
    parts = path.split("/")
    for index, part in enumerate(parts):
        if part == LOCKS:
            return Place.TEMPORARY
        if _FOLDER.fullmatch(part):
            return _in_repository(parts[index + 1 :])
        if part == SHARED_STORE and _is_shared(parts[index + 1 :]):
            return Place.SHARED
    return Place.TEMPORARY if _TEMPORARY.fullmatch(parts[-1]) else Place.OTHER


def proof_at(path: str) -> Proof | None:
    """Return the hash that the content at ``path`` must have, by its place; see :func:`place_of`."""
    return proof_of(path.rpartition("/")[2]) if place_of(path) is Place.BLOB else None


def is_left_out(path: str) -> bool:
    """Return whether a backup leaves ``path`` out: locks, unfinished downloads, temporary names.

    A file of a revision never is, whatever its name: a repository may well have a ``poetry.lock``.
    """
    return place_of(path) is Place.TEMPORARY


def shared_target(blob: str, target: str) -> str | None:
    """Return the shared payload that the link at ``blob`` leads to, from the cache; None of other links.

    ``blob`` is ``models--X/blobs/ETAG`` and ``target`` the text of the link. An absolute one counts where it
    ends as a shared payload does: huggingface_hub writes one where no relative path was possible.
    """
    if target.startswith("/"):
        path: str | None = "/".join(target.split("/")[-3:])
    else:
        path = follow(blob, target)
    parts = (path or "").split("/")
    return path if parts[0] == SHARED_STORE and _is_shared(parts[1:]) else None


def follow(link: str, target: str) -> str | None:
    """Return where a link at ``link`` leads, relative to the same root; None where it leads out of it."""
    if target.startswith("/"):
        return None
    parts: list[str] = []
    for part in (*link.split("/")[:-1], *target.split("/")):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def is_commit(name: str) -> bool:
    """Return whether ``name`` is a commit's."""
    return _SHA1.fullmatch(name) is not None


def _in_repository(parts: list[str]) -> Place:
    if len(parts) > 2 and parts[0] == "snapshots":  # noqa: PLR2004 -- snapshots, commit, file
        return Place.SNAPSHOT
    if parts and _TEMPORARY.fullmatch(parts[-1]):
        return Place.TEMPORARY
    if len(parts) == 2 and parts[0] == "blobs":  # noqa: PLR2004 -- blobs, name
        return Place.BLOB
    return Place.REF if len(parts) > 1 and parts[0] == "refs" else Place.OTHER


def _is_shared(parts: list[str]) -> bool:
    return len(parts) == 2 and _SHA256.fullmatch(parts[1]) is not None and parts[1][:2] == parts[0]  # noqa: PLR2004
