"""Scan of folders for models, in a thread: what did not change is not opened again."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from aiidpd.components.models.folders import mount_of, spaces_of
from aiidpd.components.models.record import InspectedRecord
from aiidpd.components.models.scanned import (
    FileStamp,
    Leftover,
    Scan,
    ScannedFile,
    ScannedFolder,
    ScannedModel,
    fingerprint_of,
)
from aiidpd.components.models.signed import find_signature
from aiidpd.formats.caches import find_models
from aiidpd.formats.huggingface import Repository, folder_of
from aiidpd.formats.inspect import inspect
from aiidpd.formats.model_files import Layout, Listing, ModelFile, ModelFiles, Proof

MOST_MODELS: Final = 2000
MOST_LEFTOVERS: Final = 1000


@dataclass(slots=True)
class ScanControl:
    """Link to the thread of a scan: it ends at its next step once it is ``cancelled``."""

    cancelled: bool = False
    steps: int = 0
    at: str = ""
    unreadable: list[str] = field(default_factory=list)

    def step(self, at: str) -> None:
        """Show that the scan has come to ``at``; raise where nobody wants it any more."""
        if self.cancelled:
            raise ScanCancelled
        self.steps += 1
        self.at = at


class ScanCancelled(Exception):
    """End of a scan that nobody waits for any more."""


def scan(
    folders: Sequence[tuple[Path, bool]], known: Mapping[str, InspectedRecord], control: ScanControl
) -> Scan:
    """Search ``folders``, each with whether the configuration names it. Blocks.

    A model in ``known`` with the same fingerprint is not opened. What can't be read is named.
    """
    began = time.monotonic()
    searched: list[ScannedFolder] = []
    models: list[ScannedModel] = []
    leftovers: list[Leftover] = []
    opened = 0
    seen: set[str] = set()
    for folder, configured in folders:
        control.step(str(folder))
        place, listing = _search(folder, configured=configured)
        searched.append(place)
        for model in listing.models:
            control.step(model.name)
            scanned = _scanned(str(folder), model)
            if scanned.key in seen:
                continue  # a folder within another
            if len(models) >= MOST_MODELS:
                searched[-1] = replace(place, complete=False, reason=f"more than {MOST_MODELS} models")
                break
            seen.add(scanned.key)
            before = known.get(scanned.key)
            if before is not None and before.fingerprint == scanned.fingerprint:
                found = replace(scanned.model, facts=before.facts, problems=before.problems)
            else:
                found = inspect(scanned.model)
                opened += 1
            signature = find_signature(scanned, before.signature if before is not None else None)
            models.append(replace(scanned, model=found, signature=signature))
        leftovers += _leftovers(folder, listing.leftovers[: MOST_LEFTOVERS - len(leftovers)])
    spaces = spaces_of(folder for folder, _ in folders)
    return Scan(tuple(searched), tuple(models), tuple(leftovers), spaces, opened, time.monotonic() - began)


def _search(folder: Path, *, configured: bool) -> tuple[ScannedFolder, Listing]:
    path = str(folder)
    try:
        mount = mount_of(folder)[0]
        os.listdir(folder)  # noqa: PTH208 -- raises where it can't be listed
    except OSError as error:
        reason = (error.strerror or "error").lower()
        return ScannedFolder(path, False, False, reason, "", configured), Listing()
    listing = find_models(folder)
    faults = listing.unreadable
    reasons = [f"{len(faults)} paths can't be read, such as {faults[0]}"] if faults else []
    if not listing.complete:
        reasons.append("it holds more than is searched")
    return (
        ScannedFolder(path, True, listing.complete and not faults, "; ".join(reasons), mount, configured),
        listing,
    )


def _scanned(folder: str, model: ModelFiles) -> ScannedModel:
    names: defaultdict[str, list[ModelFile]] = defaultdict(list)
    for file in model.files:
        names[str(Path(model.root, file.at))].append(file)
    files = tuple(_files(names))
    return ScannedModel(folder, model, files, fingerprint_of(model, files), tuple(_places(model)))


def _files(names: Mapping[str, list[ModelFile]]) -> Iterator[ScannedFile]:
    for path, listed in names.items():
        try:
            found = os.stat(path)  # noqa: PTH116 -- a path may be any bytes
        except (OSError, ValueError):
            continue
        proof: Proof | None = next((each.proof for each in listed if each.proof), None)
        stamp = FileStamp(found.st_size, found.st_mtime_ns, found.st_ino)
        yield ScannedFile(path, tuple(each.path for each in listed), stamp, found.st_dev, proof)


def _places(model: ModelFiles) -> Iterator[str]:
    """Yield the paths by which a program may be given the model: its folder, its files of weights."""
    if model.layout is Layout.HUGGING_FACE:
        repository = str(Path(model.root, folder_of(Repository("model", model.repository))))
        snapshot = f"{repository}/snapshots/{model.revision}"
        yield snapshot
        yield from (f"{snapshot}/{file.path}" for file in model.files if file.path.endswith(".gguf"))
        return
    paths = [str(Path(model.root, file.at)) for file in model.files]
    if len(paths) > 1 and model.layout is not Layout.OLLAMA:
        common = os.path.commonpath(paths)
        if PurePosixPath(common) != PurePosixPath(model.root):
            yield common
    yield from (path for path in paths if not path.endswith((".json", ".txt")))


def _leftovers(folder: Path, found: Sequence[ModelFile]) -> Iterator[Leftover]:
    root = folder.resolve()
    for file in found:
        path = str(root / file.at)
        try:
            changed = os.stat(path, follow_symlinks=False).st_mtime  # noqa: PTH116
        except (OSError, ValueError):
            continue
        yield Leftover(str(folder), path, file.size_bytes or 0, changed)
