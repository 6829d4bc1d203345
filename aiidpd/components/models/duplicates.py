"""Files with the same content, and what could be reclaimed (pure)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aiidpd.components.models.scanned import BIG_FROM_BYTES, ScannedFile, ScannedModel


@dataclass(frozen=True, slots=True)
class Copy:
    """One of several files with the same content; ``models`` are the labels of models that it is of."""

    path: str
    device: int
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Several files with the same content: ``sha256`` where that is certain, else empty.

    Links and hard links are no copies. Files that share their blocks (reflinks) can't be told from copies.
    """

    size_bytes: int
    sha256: str
    copies: tuple[Copy, ...]

    @property
    def reclaimable_bytes(self) -> int:
        """Return what one copy in place of all would free."""
        return self.size_bytes * (len(self.copies) - 1)


def payloads(models: Iterable[ScannedModel]) -> dict[tuple[int, int], tuple[ScannedFile, tuple[str, ...]]]:
    """Return each big file once, hard links too, with the labels of the models that it is of."""
    files: dict[tuple[int, int], ScannedFile] = {}
    labels: defaultdict[tuple[int, int], dict[str, None]] = defaultdict(dict)
    for model in models:
        for file in model.files:
            if file.stamp.size_bytes >= BIG_FROM_BYTES:
                files.setdefault(file.identity, file)
                labels[file.identity][model.label] = None
    return {identity: (file, tuple(labels[identity])) for identity, file in files.items()}


def unsampled(
    models: Iterable[ScannedModel],
    sha256: Callable[[ScannedFile], str],
    sample: Callable[[ScannedFile], str],
) -> tuple[ScannedFile, ...]:
    """Return the files whose samples would show whether they are copies of others."""
    by_size: defaultdict[int, list[ScannedFile]] = defaultdict(list)
    for file, _ in payloads(models).values():
        by_size[file.stamp.size_bytes].append(file)
    return tuple(
        file
        for files in by_size.values()
        if len(files) > 1 and not all(sha256(each) for each in files)
        for file in files
        if not sample(file)
    )


def find_duplicates(
    models: Iterable[ScannedModel],
    sha256: Callable[[ScannedFile], str],
    sample: Callable[[ScannedFile], str],
) -> tuple[Duplicate, ...]:
    """Return the files that are there more than once, those first that take the most.

    Certain by SHA-256; probable by size and sample where at least one has no SHA-256 that is known.
    """
    certain: defaultdict[tuple[int, str], list[tuple[ScannedFile, tuple[str, ...]]]] = defaultdict(list)
    likely: defaultdict[tuple[int, str], list[tuple[ScannedFile, tuple[str, ...]]]] = defaultdict(list)
    for file, labels in payloads(models).values():
        if digest := sha256(file):
            certain[file.stamp.size_bytes, digest].append((file, labels))
        if seen := sample(file):
            likely[file.stamp.size_bytes, seen].append((file, labels))
    found = [_duplicate(*key, files) for key, files in certain.items() if len(files) > 1]
    grouped = {path for each in found for path in (copy.path for copy in each.copies)}
    for (size, _), files in likely.items():
        # Of files that are certainly the same one stands for all: the others are counted already.
        first: set[str] = set()
        rest = []
        for file, labels in files:
            digest = sha256(file) if file.path in grouped else ""
            if not digest or digest not in first:
                rest.append((file, labels))
            first.add(digest)
        digests = {sha256(file) for file, _ in rest} - {""}
        unknown = any(not sha256(file) for file, _ in rest)
        if len(rest) > 1 and unknown and len(digests) <= 1:
            found.append(_duplicate(size, "", rest))
    return tuple(sorted(found, key=lambda each: (-each.reclaimable_bytes, each.copies[0].path)))


def _duplicate(size: int, sha256: str, files: Sequence[tuple[ScannedFile, tuple[str, ...]]]) -> Duplicate:
    copies = (Copy(file.path, file.device, labels) for file, labels in files)
    return Duplicate(size, sha256, tuple(sorted(copies, key=lambda each: each.path)))
