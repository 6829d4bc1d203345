"""Plan of a run: for each thing in the source to copy it, link it, retain it or refuse it (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fnmatch import fnmatchcase

from aiidpd.components.backup.manifest import FileEntry
from aiidpd.components.backup.names import shown, stays_inside

_MOST_LINKS = 40  # followed in a row, as Linux does


class Kind(Enum):
    """Kinds of entries in a source."""

    FILE = "file"
    SYMLINK = "symbolic link"
    SPECIAL = "special file"
    UNREADABLE = "unreadable folder"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing found in the source. ``size`` in bytes; ``target`` is a link's; ``note`` is why not."""

    path: str
    kind: Kind
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0o644
    target: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Decision over one listing. ``refused`` and ``unreadable`` hold (path, reason)."""

    copy: tuple[Entry, ...]
    link: tuple[FileEntry, ...]
    symlinks: tuple[Entry, ...]
    excluded: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    unreadable: tuple[tuple[str, str], ...]

    @property
    def files(self) -> int:
        """Number of regular files that the snapshot will hold."""
        return len(self.copy) + len(self.link)

    @property
    def bytes_to_copy(self) -> int:
        """Room that the run needs on the target, in bytes."""
        return sum(entry.size for entry in self.copy)


def make_plan(
    listing: Iterable[Entry],
    previous: Mapping[str, FileEntry],
    *,
    roots: Sequence[str],
    exclude: Sequence[str],
) -> Plan:
    """Decide on every entry of ``listing``, the content of a folder; ``roots`` are its absolute names.

    A file is linked from the previous snapshot where its size and mtime are the ones recorded there,
    else copied. A symbolic link is retained where it leads to a place inside the source (an absolute one
    is made relative, so that it leads into the snapshot), else refused, as are sockets, devices and pipes.
    """
    copy: list[Entry] = []
    link: list[FileEntry] = []
    symlinks: list[Entry] = []
    excluded: list[str] = []
    refused: list[tuple[str, str]] = []
    unreadable: list[tuple[str, str]] = []
    entries = sorted(listing, key=lambda entry: entry.path)
    targets = {entry.path: entry.target for entry in entries if entry.kind is Kind.SYMLINK}
    for entry in entries:
        if is_excluded(entry.path, exclude):
            excluded.append(entry.path)
        elif entry.kind is Kind.UNREADABLE:
            unreadable.append((entry.path, entry.note))
        elif not stays_inside(entry.path) or _passes_link(entry.path, targets):
            refused.append((entry.path, "its path leads out of the source"))
        elif entry.kind is Kind.SPECIAL:
            refused.append((entry.path, "it is no regular file, folder or symbolic link"))
        elif entry.kind is Kind.SYMLINK:
            fault = _fault_of_link(entry, targets, roots)
            if fault:
                refused.append((entry.path, fault))
            else:
                symlinks.append(replace(entry, target=_relative(entry, roots)))
        else:
            known = previous.get(entry.path)
            if known is not None and (known.size, known.mtime_ns) == (entry.size, entry.mtime_ns):
                link.append(known)
            else:
                copy.append(entry)
    return Plan(tuple(copy), tuple(link), tuple(symlinks), tuple(excluded), tuple(refused), tuple(unreadable))


def is_excluded(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a part of ``path`` matches a pattern, or its beginning one that has a slash."""
    parts = path.split("/")
    for pattern in patterns:
        if "/" in pattern:
            wanted = pattern.strip("/")
            if any(fnmatchcase("/".join(parts[:length]), wanted) for length in range(1, len(parts) + 1)):
                return True
        elif any(fnmatchcase(part, pattern) for part in parts):
            return True
    return False


def _passes_link(path: str, targets: Mapping[str, str]) -> bool:
    parts = path.split("/")
    return any("/".join(parts[:length]) in targets for length in range(1, len(parts)))


def _fault_of_link(entry: Entry, targets: Mapping[str, str], roots: Sequence[str]) -> str:
    """Return why link ``entry`` can't be retained, or "": follows it as the kernel would, in the listing."""
    outside = f"it leads out of the source, to {shown(entry.target)}"
    place = entry.path.split("/")
    followed = 0
    todo: list[str] = []  # components still to walk, the next one last
    while True:
        here = "/".join(place)
        if here in targets:
            followed += 1
            if followed > _MOST_LINKS:
                return "it leads round in a circle"
            target = targets[here]
            place.pop()
            if target.startswith("/"):
                inner = _inner(target, roots)
                if inner is None:
                    return outside
                place, target = [], inner
            todo += reversed(target.split("/"))
        while todo and todo[-1] in ("", "."):
            todo.pop()
        if not todo:
            return ""
        step = todo.pop()
        if step != "..":
            place.append(step)
        elif place:
            place.pop()
        else:
            return outside


def _inner(target: str, roots: Sequence[str]) -> str | None:
    """Return what of the absolute path ``target`` comes after the source's own path, or None."""
    for root in roots:
        if target == root or target.startswith(root.rstrip("/") + "/"):
            return target[len(root) :].lstrip("/")
    return None


def _relative(entry: Entry, roots: Sequence[str]) -> str:
    inner = _inner(entry.target, roots) if entry.target.startswith("/") else None
    if inner is None:
        return entry.target
    return ("../" * entry.path.count("/") + inner) or "."
