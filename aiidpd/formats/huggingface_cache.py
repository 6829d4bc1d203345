"""Reads a Hugging Face cache, or one repository's folder of it: revisions, refs, files, dangling links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiidpd.formats import huggingface as layout
from aiidpd.formats.damage import Damage, Malformed
from aiidpd.formats.huggingface import Repository
from aiidpd.formats.json_stream import JsonStream
from aiidpd.formats.model_files import Layout, ModelFile, ModelFiles, Problem, Proof
from aiidpd.formats.stream import Cursor, Source, opened, read_small
from aiidpd.formats.walk import Budget, entries, files_below

_REF_LIMIT_BYTES: Final = 1024
_TREE_LIMIT_BYTES: Final = 64 * 1024**2
_FILES_LIMIT: Final = 50_000
_KEY_LIMIT: Final = 16
_ENTRY_LIMIT_BYTES: Final = 4096
_LINKS: Final = 8


@dataclass(frozen=True, slots=True)
class CachedRevision:
    """One revision of a cached repository."""

    commit: str
    refs: tuple[str, ...]
    files: tuple[ModelFile, ...]
    """``path`` as in the repository, ``at`` from the cache; no size where the link dangles."""
    listed: Mapping[str, int] | None = None
    """Sizes of all files of the revision, by path, as the library listed them; None without a listing."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Return the files of the revision that are not here: a part of it may be all that was wanted."""
        return tuple(sorted(set(self.listed or ()) - {file.path for file in self.files}))

    def problems(self) -> tuple[Problem, ...]:
        """Return what is missing here, or has another size than the library's listing says."""
        found = []
        for file in self.files:
            size = (self.listed or {}).get(file.path, file.size_bytes)
            damage, figures = None, ""
            if file.size_bytes is None:
                damage = Damage.MISSING
            elif size is not None and size != file.size_bytes:
                damage = Damage.TRUNCATED if file.size_bytes < size else Damage.TRAILING
                figures = f" (it has {file.size_bytes} of {size} bytes)"
            if damage is not None:
                found.append(Problem(file.path, damage, f"{damage.sentence}{figures}"))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class CachedRepository:
    """One repository's folder in a cache."""

    cache: str
    """Absolute path of the cache, which ``at`` of files starts from."""
    folder: str
    """Name of the folder in it."""
    repository: Repository
    revisions: tuple[CachedRevision, ...]
    refs: dict[str, str]
    """Branches and tags with their commits."""
    shared: tuple[str, ...]
    """Payloads outside of the folder that its blobs lead to, from the cache: what a copy of it needs too."""
    dangling: tuple[str, ...]
    """Blobs and files of revisions that lead nowhere, from the cache."""
    incomplete: tuple[ModelFile, ...]
    """Downloads that did not end."""

    def models(self) -> tuple[ModelFiles, ...]:
        """Return its revisions, each as a model; none of a dataset or space."""
        if self.repository.kind != "model":
            return ()
        return tuple(
            ModelFiles(
                layout=Layout.HUGGING_FACE,
                name=self.repository.id,
                root=self.cache,
                repository=self.repository.id,
                revision=revision.commit,
                refs=revision.refs,
                files=revision.files,
                problems=revision.problems(),
            )
            for revision in self.revisions
        )


@dataclass(frozen=True, slots=True)
class HubCache:
    """One cache."""

    path: str
    repositories: tuple[CachedRepository, ...]
    unshared: tuple[ModelFile, ...] = ()
    """Payloads of the shared store that no blob of a repository leads to."""
    unreadable: tuple[str, ...] = ()
    complete: bool = True
    """False where a bound was met, so that there is more."""
    marked: bool = False
    """True where it has a shared store with its marker."""


def is_cache(path: str | os.PathLike[str]) -> bool:
    """Return whether the folder at ``path`` is a Hugging Face cache."""
    path = Path(path)
    return is_shared_store(path / layout.SHARED_STORE) or any(
        is_repository(path / name) for name in entries(path, Budget())
    )


def is_repository(path: str | os.PathLike[str]) -> bool:
    """Return whether the folder at ``path`` is one repository's folder of a cache."""
    path = Path(path)
    known = layout.repository_of(path.name) is not None
    return known and any((path / part).is_dir() for part in ("snapshots", "blobs"))


def is_shared_store(path: str | os.PathLike[str]) -> bool:
    """Return whether the folder at ``path`` is a shared store that carries its marker."""
    try:
        content = read_small(Path(path) / layout.SHARED_MARKER, 64)
    except (OSError, Malformed):
        return False
    return content == layout.SHARED_MARKER_CONTENT


def read_cache(path: str | os.PathLike[str], budget: Budget | None = None) -> HubCache:
    """Read the cache at ``path``. Blocks; what can't be read is named in ``unreadable``."""
    budget = budget or Budget()
    cache = Path(path).resolve()
    repositories = tuple(
        _repository(cache, name, budget)
        for name in entries(cache, budget)
        if layout.repository_of(name) is not None and (cache / name).is_dir()
    )
    used = {payload for repository in repositories for payload in repository.shared}
    store = cache / layout.SHARED_STORE
    marked = is_shared_store(store)
    unshared = [
        ModelFile(at, at, size)
        for at, size in (
            _sized(cache, f"{layout.SHARED_STORE}/{name}") for name in files_below(store, budget)
        )
        if marked and at not in used and layout.place_of(at) is layout.Place.SHARED
    ]
    return HubCache(
        str(cache), repositories, tuple(unshared), tuple(budget.unreadable), budget.complete, marked
    )


def read_repository(path: str | os.PathLike[str], budget: Budget | None = None) -> CachedRepository:
    """Read the one repository's folder at ``path``; raises :class:`Malformed` where it is none. Blocks.

    What ``shared`` names lies in the folder above: it dangles where this folder alone was copied or mounted.
    """
    cache, folder = Path(path).absolute().parent.resolve(), Path(path).absolute().name
    if layout.repository_of(folder) is None:
        raise Malformed(Damage.MALFORMED, f"{folder!r} is no folder of a Hugging Face cache")
    return _repository(cache, folder, budget or Budget())


def _repository(cache: Path, folder: str, budget: Budget) -> CachedRepository:
    repository = layout.repository_of(folder)
    assert repository is not None  # noqa: S101 -- the callers checked it
    refs = dict(_refs(cache / folder / "refs", budget))
    shared, dangling, incomplete = [], [], []
    for name in entries(cache / folder / "blobs", budget):
        blob = f"{folder}/blobs/{name}"
        if layout.is_left_out(blob):
            if name.endswith(".incomplete"):
                incomplete.append(ModelFile(name, *_sized(cache, blob)))
            continue
        at, size = _reached(cache, blob)
        if at != blob and not at.startswith(f"{folder}/"):
            shared.append(at)
        if size is None:
            dangling.append(blob)
    revisions = []
    for commit in entries(cache / folder / "snapshots", budget):
        at = f"{folder}/snapshots/{commit}"
        if not (cache / at).is_dir():
            continue
        tree = _tree(cache / folder / "trees" / f"{commit}.json", budget)
        files = tuple(_file(cache, f"{at}/", name, tree) for name in files_below(cache / at, budget))
        dangling += [f"{at}/{file.path}" for file in files if file.size_bytes is None]
        names = tuple(sorted(name for name, meant in refs.items() if meant == commit))
        listed = None if tree is None else {name: size for name, (size, _) in tree.items()}
        revisions.append(CachedRevision(commit, names, files, listed))
    return CachedRepository(
        str(cache),
        folder,
        repository,
        tuple(revisions),
        refs,
        tuple(dict.fromkeys(shared)),
        tuple(dangling),
        tuple(incomplete),
    )


def _refs(path: Path, budget: Budget) -> Iterator[tuple[str, str]]:
    for name in files_below(path, budget):
        if layout.is_left_out(name):
            continue
        try:
            commit = read_small(path / name, _REF_LIMIT_BYTES).decode("ascii", "replace").strip()
        except (OSError, Malformed) as error:
            budget.failed(path / name, error)
            continue
        if layout.is_commit(commit):
            yield name, commit


def _tree(path: Path, budget: Budget) -> dict[str, tuple[int, Proof | None]] | None:
    """Return size and proof of each file of a revision, as the library listed it; None without a listing."""
    try:
        return read_tree(path)
    except FileNotFoundError:
        return None
    except (OSError, Malformed) as error:
        budget.failed(path, error)
        return None


def read_tree(source: Source) -> dict[str, tuple[int, Proof | None]]:
    """Read a ``trees/COMMIT.json``; raises :class:`Malformed` and :class:`OSError`."""
    with opened(source) as stream:
        json = JsonStream(Cursor(stream, _TREE_LIMIT_BYTES), None)
        files: dict[str, tuple[int, Proof | None]] = {}
        json.expect(b"{")
        for key in json.keys(_ENTRY_LIMIT_BYTES, _KEY_LIMIT):
            if key != "files":
                json.skip()
                continue
            json.expect(b"{")
            for name in json.keys(_ENTRY_LIMIT_BYTES, _FILES_LIMIT):
                entry = json.value(_ENTRY_LIMIT_BYTES)
                size = entry.get("size") if isinstance(entry, dict) else None
                if type(size) is int and size >= 0:
                    files[name] = size, _listed_proof(entry)
        return files


def _listed_proof(entry: dict[str, object]) -> Proof | None:
    name = entry.get("lfs_sha256") or entry.get("blob_id")
    return layout.proof_of(name) if isinstance(name, str) else None


def _file(
    cache: Path, revision: str, name: str, tree: Mapping[str, tuple[int, Proof | None]] | None
) -> ModelFile:
    """Return one file of a revision, with the proof that the blob on its way gives, or the listing."""
    link = f"{revision}{name}"
    blob = _next(cache, link)
    proof = layout.proof_at(blob) if blob is not None else None
    if proof is None and tree and name in tree:
        proof = tree[name][1]
    return ModelFile(name, *_reached(cache, link), proof)


def _reached(cache: Path, path: str) -> tuple[str, int | None]:
    """Return where the links at ``path`` end, from the cache where it lies in it, and the size there.

    A link that dangles is named by its last target.
    """
    for _ in range(_LINKS):
        target = _next(cache, path)
        if target is None:
            break
        path = target
    return _sized(cache, path)


def _next(cache: Path, path: str) -> str | None:
    """Return where the link at ``path`` leads, from the cache where it lies in it; None of other files."""
    try:
        target = os.readlink(cache / path)  # noqa: PTH115 -- as the link has it
    except (OSError, ValueError):
        return None
    there = os.path.normpath(cache / path / ".." / target)
    return str(Path(there).relative_to(cache)) if Path(there).is_relative_to(cache) else there


def _sized(cache: Path, path: str) -> tuple[str, int | None]:
    try:
        found = (cache / path).stat()
    except (OSError, ValueError):
        return path, None
    return path, found.st_size if stat.S_ISREG(found.st_mode) else None
