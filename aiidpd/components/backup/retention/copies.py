"""Snapshots that must stay for what they hold, whatever the numbers and the size (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from aiidpd.components.backup.process.names import files_text
from aiidpd.components.backup.retention.snapshots import Reason, Rule, SourceContents, StoredSnapshot

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
_LONGEST: Final = 80  # characters of a name or a reason that comes from outside
_NAMED: Final = 3  # models that a reason names


@dataclass(slots=True)
class _Holders:
    """Holders of what counts as still there, a digest or a model by its name."""

    newest: dict[str, StoredSnapshot] = field(default_factory=dict)
    proven: dict[str, StoredSnapshot] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)
    """Those that more than one holds."""

    def add(self, thing: str, holder: StoredSnapshot) -> None:
        """Note that ``holder`` has ``thing``; to be called for the newest snapshot first."""
        if thing in self.newest:
            self.several.add(thing)
        else:
            self.newest[thing] = holder
        if holder.proven:
            self.proven.setdefault(thing, holder)


@dataclass(slots=True)
class _Copies:
    """Snapshots that must stay, each with what it must stay for, grouped by what can be said of it."""

    rule: Rule
    kept: dict[tuple[str, bool, bool], list[str]] = field(default_factory=dict)
    snapshots: dict[str, StoredSnapshot] = field(default_factory=dict)

    def add(self, holder: StoredSnapshot, thing: str, *, several: bool, sure: bool) -> None:
        """Note that ``holder`` stays for ``thing``, which ``several`` hold, and the source for ``sure``."""
        self.kept.setdefault((holder.id, several, sure), []).append(thing)
        self.snapshots[holder.id] = holder

    def reasons(self) -> Iterator[tuple[str, Reason]]:
        """Yield a reason for each group."""
        for (id_, several, sure), things in sorted(self.kept.items()):
            holder = self.snapshots[id_]
            whole = "whole " if self.rule is Rule.COPY_OF_MODEL else ""
            which = f"the newest {whole}copy{' that is proven' if holder.proven else ''}"
            which = which if several else f"the only {whole}copy"
            still = "the source still has" if sure else "the source may still have"
            what = _of(sorted(things)) if whole else _files_text(holder, things)
            yield id_, Reason(self.rule, f"{which}{what} that {still}")


def copies_of_files(
    trusted: Sequence[StoredSnapshot], firm: frozenset[str], sources: Mapping[str, SourceContents]
) -> Iterator[tuple[str, Reason]]:
    """Yield for each file that a source has the snapshot to keep a copy of it, where no firm one does.

    ``trusted`` is newest first; ``firm`` are the ids of those that stay. A proven copy comes before one that
    is not. Of a source that ``sources`` lacks, all that its own snapshots hold counts as there, and it is
    their copy that stays: once they are gone, nothing says that a copy elsewhere is needed. It depends on no
    number of the policy, so whoever keeps more of others loses none of these.
    """
    copies = _Copies(Rule.COPY_OF_FILES)
    _find_copies(copies, trusted, firm, frozenset().union(*(each.digests for each in sources.values())))
    for folder in sorted({each.source for each in trusted} - sources.keys()):
        _find_copies(copies, [each for each in trusted if each.source == folder], firm, None)
    return copies.reasons()


def _find_copies(
    copies: _Copies, trusted: Iterable[StoredSnapshot], firm: frozenset[str], present: frozenset[str] | None
) -> None:
    """Add to ``copies`` those that must stay for a digest in ``present``; None: for any."""
    holders = _Holders()
    safe: set[str] = set()
    proven_safe: set[str] = set()
    for each in trusted:
        digests = (each.contents or _NOTHING).keys()
        for digest in digests if present is None else digests & present:
            holders.add(digest, each)
            if each.id in firm:
                safe.add(digest)
                if each.proven:
                    proven_safe.add(digest)
    for digest, newest in holders.newest.items():
        holder = holders.proven.get(digest, newest)
        if digest not in (proven_safe if holder.proven else safe):
            copies.add(holder, digest, several=digest in holders.several, sure=present is not None)


def copies_of_models(
    trusted: Iterable[StoredSnapshot], firm: frozenset[str], sources: Mapping[str, SourceContents]
) -> Iterator[tuple[str, Reason]]:
    """Yield for each model that a source has its newest whole copy, and the newest that is proven.

    Arguments are those of :func:`copies_of_files`. An older copy, firm or not, may be of another version, and
    does not do for the newest.
    """
    holders: dict[str, _Holders] = {}
    for each in trusted:
        held = (each.contents or _NOTHING).keys()
        for name, digests in each.models.items():
            there = each.source not in sources or name in sources[each.source].models
            if there and digests and digests <= held:
                holders.setdefault(each.source, _Holders()).add(name, each)
    copies = _Copies(Rule.COPY_OF_MODEL)
    for source, found in holders.items():
        for name, newest in found.newest.items():
            both = {each.id: each for each in (newest, found.proven.get(name, newest))}
            for holder in both.values():
                if holder.id not in firm:
                    copies.add(holder, name, several=name in found.several, sure=source in sources)
    return copies.reasons()


def only_holders(
    stored: Iterable[StoredSnapshot], trusted: Iterable[StoredSnapshot]
) -> Iterator[tuple[str, Reason]]:
    """Yield the broken ones of ``stored`` that hold what none of ``trusted`` of their source does."""
    held: dict[str, set[str]] = {}
    for each in trusted:
        held.setdefault(each.source, set()).update(each.contents or ())
    for each in stored:
        lacking = (each.contents or _NOTHING).keys() - held.get(each.source, ()) if each.broken else ()
        if lacking:
            what = f"{len(lacking)} object{'' if len(lacking) == 1 else 's'}"
            yield each.id, Reason(Rule.ONLY_HOLDER, f"broken, and no whole one holds {what} of it")


def bounded(text: str) -> str:
    """Return ``text`` from outside as one short line."""
    line = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text[: _LONGEST + 1]
    )
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _files_text(snapshot: StoredSnapshot, digests: list[str]) -> str:
    mine = [name for name, files in snapshot.models.items() if not files.isdisjoint(digests)]
    return f" of {files_text(len(digests))}{_of(sorted(mine))}"


def _of(names: list[str]) -> str:
    if not names:
        return ""
    listed = ", ".join(bounded(name) for name in names[:_NAMED])
    return f" of {listed}" + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
