"""Decision on which snapshots stay, with every reason, and which go, with why (pure).

Nothing depends on the order in which they are given, nor on a clock: ages are compared with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, tzinfo
from types import MappingProxyType
from typing import Final

from aiidpd.components.backup.process.names import size_text
from aiidpd.components.backup.retention.copies import bounded, copies_of_files, copies_of_models, only_holders
from aiidpd.components.backup.retention.numbers import by_number, numbers, numbers_text
from aiidpd.components.backup.retention.policy import RetentionPolicy
from aiidpd.components.backup.retention.size import ObjectStore, excess_text, remove_oldest
from aiidpd.components.backup.retention.snapshots import (
    FIRM,
    SOFT,
    Decision,
    Reason,
    Retention,
    Rule,
    SourceContents,
    StoredSnapshot,
    age,
)

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_Found = Iterator[tuple[str, Reason]]


def decide(
    snapshots: Iterable[StoredSnapshot],
    policy: RetentionPolicy,
    *,
    zone: tzinfo,
    sources: Mapping[str, SourceContents],
    protected: Mapping[str, str] = _NONE,
    shared: bool = True,
) -> Retention:
    """Return which of ``snapshots`` (all that one target has) stay and which go.

    ``sources`` has the present contents of each folder that snapshots are of, by its path. Where one is not
    known, or is empty, as a disk that is not mounted is, all that its snapshots hold counts as still there.
    ``protected`` maps the id of a snapshot that must stay to the reason. ``shared`` is False on a target on
    which each snapshot has its own copy of each object. Two snapshots of one id raise :class:`ValueError`.
    """
    stored = sorted(snapshots, key=age)
    if len({each.id for each in stored}) < len(stored):
        raise ValueError("two snapshots have one id")
    known = {path: source for path, source in sources.items() if source.digests}
    reasons = _reasons_to_stay(stored, policy, zone, known, protected)
    if not numbers(policy):
        for found in reasons.values():
            if not any(reason.rule in FIRM for reason in found):
                found.append(Reason(Rule.NO_NUMBERS, "no number of snapshots to keep is set"))

    store = ObjectStore(stored, shared=shared)
    before = store.bytes
    freed: dict[str, int] = {}
    in_order = sorted(stored, key=_removal_order)
    for each in in_order:
        if not reasons[each.id]:
            reasons[each.id].append(_why_it_goes(each, policy))
            freed[each.id] = store.remove(each)
    soft = [each for each in in_order if all(reason.rule in SOFT for reason in reasons[each.id])]
    for each, size in remove_oldest(store, soft, policy.max_size):
        words = f"the oldest that may go, and max_size is {size_text(policy.max_size)}"
        reasons[each.id].append(Reason(Rule.MAX_SIZE, words))
        freed[each.id] = size
    return Retention(
        decisions=tuple(
            Decision(each.id, each.created_at, tuple(reasons[each.id]), freed.get(each.id, 0))
            for each in stored
        ),
        removals=tuple(freed),
        bytes_before=before,
        bytes_after=store.bytes,
        excess_bytes=store.above(policy.max_size),
        excess=excess_text(store, policy.max_size),
        unknown_pins=tuple(sorted(set(policy.pins) - reasons.keys())),
    )


def _reasons_to_stay(
    stored: list[StoredSnapshot],
    policy: RetentionPolicy,
    zone: tzinfo,
    sources: Mapping[str, SourceContents],
    protected: Mapping[str, str],
) -> dict[str, list[Reason]]:
    reasons: dict[str, list[Reason]] = {each.id: [] for each in stored}

    def note(found: _Found) -> None:
        for id_, reason in found:
            reasons[id_].append(reason)

    dates = {each.id: day for each in stored if (day := _local_date(each, zone)) is not None}
    trusted = [each for each in reversed(stored) if not each.broken and each.id in dates]
    folders = sorted({each.source for each in trusted})
    groups = [[each for each in trusted if each.source == folder] for folder in folders]
    for group in groups:
        note(_newest(group))
    for each in stored:
        note((each.id, reason) for reason in _own(each, policy, protected))
        if not each.broken and each.id not in dates:
            note(iter([(each.id, Reason(Rule.WRONG_TIME, "its time has not come yet, or is no date"))]))
    firm = frozenset(each.id for each in trusted if reasons[each.id])
    note(copies_of_files(trusted, firm, sources))
    note(copies_of_models(trusted, firm, sources))
    note(only_holders(stored, trusted))
    for group in groups:
        note(by_number([(each, dates[each.id]) for each in group], policy))
    return reasons


def _removal_order(snapshot: StoredSnapshot) -> tuple[bool, tuple[float, str]]:
    return not snapshot.broken, age(snapshot)


def _local_date(snapshot: StoredSnapshot, zone: tzinfo) -> date | None:
    """Return the local day on which ``snapshot`` was made; None where its time can't be right."""
    if snapshot.in_future:
        return None
    try:
        return datetime.fromtimestamp(snapshot.created_at, zone).date()
    except (OverflowError, ValueError, OSError):
        return None


def _newest(group: list[StoredSnapshot]) -> _Found:
    yield group[0].id, Reason(Rule.NEWEST, "the newest whole snapshot")
    proven = next((each for each in group if each.proven), group[0])
    if proven is not group[0]:
        yield proven.id, Reason(Rule.NEWEST_PROVEN, "the newest whole snapshot that is proven")


def _own(snapshot: StoredSnapshot, policy: RetentionPolicy, protected: Mapping[str, str]) -> Iterator[Reason]:
    if snapshot.pinned or snapshot.id in policy.pins:
        yield Reason(Rule.PINNED, "pinned")
    if snapshot.id in protected:
        yield Reason(Rule.PROTECTED, bounded(protected[snapshot.id]))
    if snapshot.contents is None or (snapshot.broken and not snapshot.contents):
        words = "its contents are not known, so it may be the only one that holds something"
        yield Reason(Rule.UNREADABLE, words)


def _why_it_goes(snapshot: StoredSnapshot, policy: RetentionPolicy) -> Reason:
    if snapshot.broken:
        return Reason(Rule.BROKEN, "broken, and whole ones hold all of it")
    return Reason(Rule.OUTDATED, f"newer ones are enough for {numbers_text(policy)}")
