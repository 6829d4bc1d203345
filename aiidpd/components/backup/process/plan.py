"""Plan of a run: for each thing in the source to copy it, link it, read it again or leave it out (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

from aiidpd.components.backup.process.manifest import FileEntry, FolderEntry
from aiidpd.components.backup.process.names import shown, stays_inside

_MOST_LINKS: Final = 40  # followed in a row, as Linux does


class Kind(Enum):
    """Kinds of entries in a source."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    SPECIAL = "special file"
    UNREADABLE = "unreadable folder"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing found in the source. ``size`` in bytes; ``target`` is a link's; ``note`` is why not.

    ``blocks`` are the bytes that the file system has given it: fewer than ``size`` for a sparse file.
    """

    path: str
    kind: Kind
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0o644
    target: str = ""
    note: str = ""
    ctime_ns: int = 0
    inode: tuple[int, int] = (0, 0)
    uid: int = 0
    gid: int = 0
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Decision over one listing. ``left_out`` maps a path to the reason; ``excluded`` is as configured.

    ``link`` has files whose content is stored: as they were, or renamed. ``reread`` has pairs of a file that
    looks as it was, but was touched (its ctime differs), and its entry in the snapshot before. ``aliases``
    are hard links to a file that is copied, with the path of that.
    """

    copy: tuple[Entry, ...] = ()
    aliases: tuple[tuple[Entry, str], ...] = ()
    link: tuple[FileEntry, ...] = ()
    reread: tuple[tuple[Entry, FileEntry], ...] = ()
    folders: tuple[FolderEntry, ...] = ()
    symlinks: tuple[Entry, ...] = ()
    excluded: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """Number of regular files that the snapshot will hold, if all can be read."""
        return len(self.copy) + len(self.aliases) + len(self.link) + len(self.reread)

    @property
    def bytes_to_read(self) -> int:
        """Bytes that the run reads from the source."""
        return sum(entry.size for entry in self.copy) + sum(entry.size for entry, _ in self.reread)

    @property
    def bytes_to_store(self) -> int:
        """Room that the run needs on the target at most, in bytes."""
        return sum(min(entry.size, entry.blocks or entry.size) for entry in self.copy)


def make_plan(
    listing: Iterable[Entry],
    previous: Mapping[str, FileEntry],
    *,
    stored: AbstractSet[str],
    roots: Sequence[str],
    exclude: Sequence[str],
) -> Plan:
    """Decide on every entry of ``listing``, the content of a folder; ``roots`` are its absolute names.

    A file whose size, mtime and ctime are those in ``previous`` is linked; so is one that was renamed, which
    its inode shows. One with the same size and mtime and another ctime is read again: somebody may have
    changed it and set its time back. So is one whose content is not among those ``stored`` on the target. A
    symbolic link is retained where it leads to a place inside the source (an absolute one is made relative,
    so that it leads into the snapshot), else left out, as are sockets, devices and pipes.
    """
    entries = sorted(listing, key=lambda entry: entry.path)
    planner = _Planner(entries, previous, stored, roots)
    excluded: list[str] = []
    for entry in entries:
        if exclude and is_excluded(entry.path, exclude):
            excluded.append(entry.path)
        elif entry.kind is Kind.UNREADABLE:
            planner.left_out[entry.path] = entry.note
        elif not stays_inside(entry.path) or planner.passes_link(entry.path):
            planner.left_out[entry.path] = "its path leads out of the source"
        elif entry.kind is Kind.FILE:
            planner.add_file(entry)
        else:
            planner.add_other(entry)
    return planner.plan(tuple(excluded))


class _Planner:
    """A plan in the making."""

    def __init__(
        self,
        entries: Sequence[Entry],
        previous: Mapping[str, FileEntry],
        stored: AbstractSet[str],
        roots: Sequence[str],
    ) -> None:
        self._previous = previous
        self._stored = stored
        self._roots = roots
        self._targets = {entry.path: entry.target for entry in entries if entry.kind is Kind.SYMLINK}
        self._by_inode = {file.inode: file for file in previous.values() if file.inode is not None}
        self._copied: dict[tuple[int, int], str] = {}
        self._copy: list[Entry] = []
        self._aliases: list[tuple[Entry, str]] = []
        self._link: list[FileEntry] = []
        self._reread: list[tuple[Entry, FileEntry]] = []
        self._folders: list[FolderEntry] = []
        self._symlinks: list[Entry] = []
        self.left_out: dict[str, str] = {}

    def passes_link(self, path: str) -> bool:
        return bool(self._targets) and _passes_link(path, self._targets)

    def add_file(self, entry: Entry) -> None:
        known = self._previous.get(entry.path)
        if known is not None and _matches(entry, known):
            if known.sha256 in self._stored and known.ctime_ns in (None, entry.ctime_ns):
                self._link.append(_as_now(known, entry))
            else:
                self._reread.append((entry, known))
            return
        moved = self._by_inode.get(entry.inode) if known is None else None
        if moved is not None and _matches(entry, moved) and moved.sha256 in self._stored:
            self._link.append(_as_now(moved, entry))
        elif entry.inode in self._copied:
            self._aliases.append((entry, self._copied[entry.inode]))
        else:
            self._copy.append(entry)
            self._copied[entry.inode] = entry.path

    def add_other(self, entry: Entry) -> None:
        if entry.kind is Kind.FOLDER:
            self._folders.append(FolderEntry(entry.path, entry.mode, entry.mtime_ns, entry.uid, entry.gid))
        elif entry.kind is Kind.SPECIAL:
            self.left_out[entry.path] = "it is no regular file, folder or symbolic link"
        elif fault := _fault_of_link(entry, self._targets, self._roots):
            self.left_out[entry.path] = fault
        else:
            self._symlinks.append(replace(entry, target=_relative(entry, self._roots)))

    def plan(self, excluded: tuple[str, ...]) -> Plan:
        return Plan(
            tuple(self._copy),
            tuple(self._aliases),
            tuple(self._link),
            tuple(self._reread),
            tuple(self._folders),
            tuple(self._symlinks),
            excluded,
            self.left_out,
        )


def _matches(entry: Entry, known: FileEntry) -> bool:
    """Return whether size and mtime are those recorded, of content that was the source's own then."""
    return (entry.size, entry.mtime_ns) == (known.size, known.mtime_ns)


def _as_now(known: FileEntry, entry: Entry) -> FileEntry:
    """Return the entry for the content ``known`` at ``entry``'s place, with that one's facts."""
    if (known.path, known.ctime_ns, known.inode, known.mode, known.uid, known.gid) == (
        entry.path,
        entry.ctime_ns,
        entry.inode,
        entry.mode,
        entry.uid,
        entry.gid,
    ):
        return known
    return replace(
        known,
        path=entry.path,
        ctime_ns=entry.ctime_ns,
        inode=entry.inode,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
    )


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
