"""Plan of a restore: for each thing that is wanted to write it, to leave it as it is, or to refuse (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from aiidpd.components.backup.process.manifest import NOTHING, FileEntry, FolderEntry, Manifest
from aiidpd.components.backup.process.names import shown
from aiidpd.components.backup.process.plan import Entry, Kind, is_excluded

_LONGEST: Final = 4096  # bytes of a path, which have at least as many characters
_MOST_LINKS: Final = 40  # followed in a row, as Linux does


@dataclass(frozen=True, slots=True)
class Selection:
    """Part of a snapshot that is wanted. ``parents`` are folders above it, for their modes if they are made.

    ``impossible`` maps a path that can't be made as the manifest has it to the reason, ``unknown`` are wanted
    paths that the snapshot has not, ``left_out`` what the snapshot says that it lacks.
    """

    files: tuple[FileEntry, ...] = ()
    folders: tuple[FolderEntry, ...] = ()
    links: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    parents: tuple[FolderEntry, ...] = ()
    impossible: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    left_out: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    unknown: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """All paths of it, and the folders above each: a folder comes before what is in it."""
        found = [file.path for file in self.files] + [folder.path for folder in self.folders]
        found += self.links
        return sorted({*found, *(above for path in found for above in parents(path))})


def parents(path: str) -> Iterator[str]:
    """Yield the folders above ``path``, the uppermost first."""
    parts = path.split("/")
    for length in range(1, len(parts)):
        yield "/".join(parts[:length])


def select(manifest: Manifest, wanted: Sequence[str]) -> Selection:
    """Return what ``wanted`` names in the snapshot, all of it where nothing is named.

    Each is the path of a file, a link, or a folder with all below it; or else a pattern as for exclusions:
    with a slash for the beginning of a path, without one for any part of it. What a selected link leads to
    inside the snapshot is selected with it: a model of a Hugging Face cache is links to its payloads.
    """
    files = {file.path: file for file in manifest.files}
    folders = {folder.path: folder for folder in manifest.folders}
    names = [*files, *folders, *manifest.links]
    long = {name for name in names if len(name) >= _LONGEST}
    if wanted:
        chosen, unknown = _choose(names, files.keys() | manifest.links.keys(), wanted)
        _follow(chosen, [name for name in names if name not in long], manifest.links)
    else:
        chosen, unknown = set(names), ()
    impossible = {}
    for path in chosen & long:
        impossible[path] = "its path is longer than any may be"
    for path in chosen - long:
        above = next((each for each in parents(path) if each in files or each in manifest.links), None)
        if above is not None:
            impossible[path] = f"the manifest has {shown(above)} as a folder, and as something else too"
    possible = chosen - impossible.keys()
    needed = {above for path in possible for above in parents(path)}
    return Selection(
        tuple(file for path, file in files.items() if path in possible),
        tuple(folder for path, folder in folders.items() if path in possible),
        {path: target for path, target in manifest.links.items() if path in possible},
        tuple(folder for path, folder in folders.items() if path in needed - possible),
        impossible,
        {path: why for path, why in manifest.left_out.items() if not wanted or _is_wanted(path, wanted)},
        unknown,
    )


def _is_wanted(path: str, wanted: Sequence[str]) -> bool:
    return any(_is_below(path, each.strip("/")) or is_excluded(path, (each,)) for each in wanted)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _choose(
    names: Sequence[str], leaves: AbstractSet[str], wanted: Sequence[str]
) -> tuple[set[str], tuple[str, ...]]:
    chosen: set[str] = set()
    unknown = []
    for each in wanted:
        plain = each.strip("/")
        found = {plain} if plain in leaves else {name for name in names if _is_below(name, plain)}
        found = found or {name for name in names if is_excluded(name, (each,))}
        if not found:
            unknown.append(each)
        chosen |= found
    return chosen, tuple(unknown)


def _follow(chosen: set[str], names: Sequence[str], links: Mapping[str, str]) -> None:
    """Add to ``chosen`` what the links in it lead to, and the links on the way there."""
    todo = [path for path in chosen if path in links]
    present = set(names)
    inner = {above for name in names for above in parents(name)} if todo else set()
    while todo:
        passed, place = _led_to(todo.pop(), links)
        found = {each for each in passed if each not in chosen}
        if place in inner:
            found |= {name for name in names if _is_below(name, place) and name not in chosen}
        elif place in present and place not in chosen:
            found.add(place)
        chosen |= found
        todo += [each for each in found if each in links]


def _led_to(path: str, links: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the links that are passed from link ``path`` on, and the path that they lead to; "" for none."""
    passed: list[str] = []
    place: list[str] = []
    todo = path.split("/")[::-1]
    while todo:
        step = todo.pop()
        if step in ("", "."):
            continue
        if step == "..":
            if not place:
                return passed, ""
            place.pop()
            continue
        here = "/".join((*place, step))
        if here not in links:
            place.append(step)
            continue
        passed.append(here)
        if len(passed) > _MOST_LINKS or links[here].startswith("/"):
            return passed, ""
        todo += links[here].split("/")[::-1]
    return passed, "/".join(place)


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """Decision over a selection. ``check`` may be there already, which its hash will show; ``same`` is.

    ``make`` are folders that are not there, each after the one above it. ``finish`` are folders whose mode
    and time are set in the end, each before the one above it. ``refused`` maps a path to the reason.
    """

    write: tuple[FileEntry, ...] = ()
    check: tuple[FileEntry, ...] = ()
    same: tuple[FileEntry, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    same_links: int = 0
    make: tuple[str, ...] = ()
    finish: tuple[FolderEntry, ...] = ()
    refused: Mapping[str, str] = field(default_factory=lambda: NOTHING)


def make_restore_plan(
    selection: Selection, there: Mapping[str, Entry], *, overwrite: bool, trust: bool
) -> RestorePlan:
    """Decide on each thing in ``selection``; ``there`` is what lies at its paths in the destination.

    With ``overwrite`` files and links that differ are replaced; never a folder, nor what is no regular file.
    With ``trust`` a file of the same size and time counts as the same, without its hash.
    """
    planner = _Planner(there, overwrite=overwrite, trust=trust)
    planner.refused.update(selection.impossible)
    planner.add_folders(selection)
    for file in selection.files:
        if not planner.is_blocked(file.path):
            planner.add_file(file)
    for path, target in selection.links.items():
        if not planner.is_blocked(path):
            planner.add_link(path, target)
    return planner.plan(selection)


def settle(plan: RestorePlan, right: AbstractSet[str], *, overwrite: bool) -> RestorePlan:
    """Return the plan once it is known which of the files to check have the ``right`` content."""
    same = [file for file in plan.check if file.path in right]
    others = [file for file in plan.check if file.path not in right]
    if overwrite:
        return replace(plan, check=(), same=(*plan.same, *same), write=(*plan.write, *others))
    refused = {file.path: "another file of the same size is there" for file in others}
    return replace(plan, check=(), same=(*plan.same, *same), refused={**plan.refused, **refused})


def hard_links(files: Iterable[FileEntry]) -> dict[str, str]:
    """Return for a file that was a hard link of an earlier one the path of that: they are linked again."""
    first: dict[tuple[object, ...], str] = {}
    found = {}
    for file in files:
        if file.inode is None or file.retained:
            continue
        own = (file.inode, file.sha256, file.mode, file.mtime_ns, file.uid, file.gid)
        earlier = first.setdefault(own, file.path)
        if earlier != file.path:
            found[file.path] = earlier
    return found


class _Planner:
    """A plan in the making."""

    def __init__(self, there: Mapping[str, Entry], *, overwrite: bool, trust: bool) -> None:
        self._there = there
        self._overwrite = overwrite
        self._trust = trust
        self._write: list[FileEntry] = []
        self._check: list[FileEntry] = []
        self._same: list[FileEntry] = []
        self._links: list[tuple[str, str]] = []
        self._same_links = 0
        self._make: list[str] = []
        self._blocked: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    def add_folders(self, selection: Selection) -> None:
        files = [file.path for file in selection.files] + list(selection.links)
        wanted = {above for path in files for above in parents(path)}
        for folder in selection.folders:
            wanted.update((folder.path, *parents(folder.path)))
        for path in sorted(wanted):
            found = self._there.get(path)
            if self.is_blocked(path):
                self._blocked[path] = self.refused[path]
            elif found is None:
                self._make.append(path)
            elif found.kind is not Kind.FOLDER:
                self._blocked[path] = f"a {found.kind.value} is there, where a folder has to be"
                self.refused[path] = self._blocked[path]

    def is_blocked(self, path: str) -> bool:
        """Return whether the folder of ``path`` can't be, and refuse it then."""
        above = path.rpartition("/")[0]
        if above in self._blocked:
            self.refused[path] = f"the folder above it can't be made: {self._reason(above)}"
        return above in self._blocked

    def _reason(self, folder: str) -> str:
        return self._blocked[folder].removeprefix("the folder above it can't be made: ")

    def add_file(self, file: FileEntry) -> None:
        found = self._there.get(file.path)
        if found is None:
            self._write.append(file)
        elif found.kind is not Kind.FILE:
            self._refuse_kind(file, found)
        elif found.size == file.size:
            looks_same = found.mtime_ns == file.mtime_ns
            (self._same if self._trust and looks_same else self._check).append(file)
        elif self._overwrite:
            self._write.append(file)
        else:
            newer = found.mtime_ns > file.mtime_ns
            self.refused[file.path] = f"{'a newer' if newer else 'another'} file is there"

    def _refuse_kind(self, file: FileEntry, found: Entry) -> None:
        if found.kind is Kind.SYMLINK and self._overwrite:
            self._write.append(file)
        else:
            self.refused[file.path] = f"a {found.kind.value} is there"

    def add_link(self, path: str, target: str) -> None:
        found = self._there.get(path)
        if found is None:
            self._links.append((path, target))
        elif found.kind is Kind.SYMLINK and found.target == target:
            self._same_links += 1
        elif found.kind in (Kind.SYMLINK, Kind.FILE) and self._overwrite:
            self._links.append((path, target))
        elif found.kind is Kind.SYMLINK:
            self.refused[path] = f"a symbolic link to {shown(found.target)} is there"
        else:
            self.refused[path] = f"a {found.kind.value} is there"

    def plan(self, selection: Selection) -> RestorePlan:
        made = set(self._make)
        above = [folder for folder in selection.parents if folder.path in made]
        finish = [folder for folder in selection.folders if folder.path not in self.refused] + above
        return RestorePlan(
            tuple(self._write),
            tuple(self._check),
            tuple(self._same),
            tuple(self._links),
            self._same_links,
            tuple(self._make),
            tuple(sorted(finish, key=lambda folder: folder.path, reverse=True)),
            self.refused,
        )
