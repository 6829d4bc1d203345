"""Finds the models below a folder, whichever caches and plain folders lie in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiidpd.formats import folders, huggingface, ollama
from aiidpd.formats.damage import Malformed
from aiidpd.formats.huggingface_cache import is_cache, is_repository, read_cache, read_repository
from aiidpd.formats.inspect import variants
from aiidpd.formats.model_files import Layout, Listing, ModelFile, ModelFiles, Proof
from aiidpd.formats.stream import read_small
from aiidpd.formats.walk import Budget, files_below

_RECORD_LIMIT_BYTES: Final = 4096
_CLOCK_SECONDS: Final = 1.0
_STORES: Final = ("models", "hub")
_REPOSITORY_PARTS: Final = 2


def recognise(path: str | os.PathLike[str]) -> Layout:
    """Return the layout of the folder at ``path`` itself; ``FOLDER`` where it is no cache. Blocks."""
    path = Path(path)
    if is_repository(path) or is_cache(path):
        return Layout.HUGGING_FACE
    if ollama.is_ollama(path):
        return Layout.OLLAMA
    try:
        names = os.listdir(path)  # noqa: PTH208 -- names, not paths
    except OSError:
        names = []
    return folders.layout_of(str(path.resolve()), names)


def find_models(path: str | os.PathLike[str], budget: Budget | None = None) -> Listing:
    """Return the models below ``path``, unopened: see :func:`aiidpd.formats.inspect.inspect`.

    Blocks for the time of listing folders; links to folders are not followed, but for ``path`` itself. What
    can't be read is named, and a bound that was met makes the listing incomplete.
    """
    search = _Search(Path(path).resolve(), budget or Budget())
    search.run()
    models = [variant for model in search.models for variant in variants(model)]
    return Listing(
        models=tuple(sorted(models, key=lambda model: (model.name, model.revision, model.root))),
        leftovers=tuple(search.leftovers),
        unreadable=tuple(search.budget.unreadable),
        complete=search.budget.complete,
    )


@dataclass(slots=True)
class _Search:
    root: Path
    budget: Budget
    models: list[ModelFiles] = field(default_factory=list)
    leftovers: list[ModelFile] = field(default_factory=list)
    records: dict[str, tuple[str, Proof | None, float]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    plain: list[str] = field(default_factory=list)

    def run(self) -> None:
        if not self._is_cache(self.root):
            for path in files_below(self.root, self.budget, into=lambda folder: not self._is_cache(folder)):
                self._add(path)
        for name, paths in folders.group(self.plain).items():
            self.models.append(self._model(name, paths))

    def _is_cache(self, folder: Path) -> bool:
        """Read ``folder`` where it is a cache; return whether it is."""
        if is_repository(folder):
            repositories = [read_repository(folder, self.budget)]
        elif is_cache(folder):
            cache = read_cache(folder, self.budget)
            repositories = list(cache.repositories)
        elif ollama.is_ollama(folder):
            self.models += ollama.read_models(folder, self.budget)
            self.leftovers += [
                self._from_root(folder, file) for file in ollama.leftovers(folder, self.budget)
            ]
            return True
        else:
            return False
        for repository in repositories:
            self.models += repository.models()
            self.leftovers += [
                self._from_root(Path(repository.cache), file) for file in repository.incomplete
            ]
        return True

    def _from_root(self, folder: Path, file: ModelFile) -> ModelFile:
        path = folder / file.at
        at = str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)
        return ModelFile(file.path, at, file.size_bytes)

    def _add(self, path: str) -> None:
        base, found, name = path.rpartition(folders.HUB_METADATA)
        if found and name.endswith(".metadata"):
            self._record(path, f"{base}{name.removesuffix('.metadata')}")
        elif path.rpartition("/")[2] == ".mv":
            data = self._read(path)
            self.revisions[path.rpartition("/")[0]] = folders.modelscope_revision(data)
        elif folders.is_leftover(path):
            self.leftovers.append(self._file(path, path))
        elif not folders.is_metadata(path):
            self.plain.append(path)

    def _record(self, path: str, of: str) -> None:
        record = folders.hub_record(self._read(path))
        if record is not None:
            self.records[of] = record

    def _read(self, path: str) -> bytes:
        try:
            return read_small(self.root / path, _RECORD_LIMIT_BYTES)
        except (OSError, Malformed) as error:
            self.budget.failed(self.root / path, error)
            return b""

    def _model(self, name: str, paths: tuple[str, ...]) -> ModelFiles:
        folder = name if any(path.startswith(f"{name}/") for path in paths) else name.rpartition("/")[0]
        whole = str(self.root / name)
        names = {".mv"} if folder in self.revisions else set[str]()
        layout = folders.layout_of(whole, names)
        prefix = f"{folder}/" if folder else ""
        commits = {self.records[path][0] for path in paths if path in self.records}
        return ModelFiles(
            layout=layout,
            name=self._name(layout, name) or self.root.name,
            root=str(self.root),
            repository=self._repository(layout, folder),
            revision=commits.pop() if len(commits) == 1 else self.revisions.get(folder, ""),
            files=tuple(self._file(path.removeprefix(prefix), path) for path in paths),
        )

    def _name(self, layout: Layout, name: str) -> str:
        within = self._in_store(name) if layout is not Layout.FOLDER else name
        return folders.modelscope_name(within) if layout is Layout.MODELSCOPE else within

    def _repository(self, layout: Layout, folder: str) -> str:
        if layout is Layout.FOLDER:
            return ""
        parts = self._in_store(folder).split("/")
        repository = "/".join(parts[:_REPOSITORY_PARTS]) if len(parts) >= _REPOSITORY_PARTS else ""
        return folders.modelscope_name(repository) if layout is Layout.MODELSCOPE else repository

    def _in_store(self, path: str) -> str:
        """Return ``path`` from the folder ``models`` or ``hub`` that clients put models in."""
        parts = (self.root / path).parts
        last = max((index for index, part in enumerate(parts) if part in _STORES), default=None)
        return path if last is None else "/".join(parts[last + 1 :])

    def _file(self, path: str, at: str) -> ModelFile:
        whole = self.root / at
        try:
            there = whole.resolve() if whole.is_symlink() else whole
            found = there.stat()
            size = found.st_size if there.is_file() else None
        except (OSError, RuntimeError):
            return ModelFile(path, at, None)
        record = self.records.get(at)
        proof = record[1] if record and found.st_mtime - _CLOCK_SECONDS <= record[2] else None
        if proof is None and there != whole:
            proof = huggingface.proof_at(str(there))
        inside = there.is_relative_to(self.root)
        return ModelFile(path, str(there.relative_to(self.root)) if inside else str(there), size, proof)


def paths_of(model: ModelFiles) -> Iterator[Path]:
    """Yield the path of each payload of ``model`` once."""
    for at in dict.fromkeys(file.at for file in model.files):
        yield Path(model.root, at)
