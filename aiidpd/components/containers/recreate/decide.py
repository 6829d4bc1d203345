"""Next act of a re-creation, from what is on disk and what the runtime shows (pure).

Each act is decided anew from what is there, so that it makes no difference how an earlier process ended, nor
whether the runtime carried out a call whose answer was lost. Of the two containers those are ours that have
one of our names: one that a person has renamed is that person's.
"""

from __future__ import annotations

from enum import Enum, auto

from aiidpd.components.containers.recreate.state import Phase, Place, Recreation, Situation


class Act(Enum):
    """Act on one of the two containers, or an end."""

    STOP_OLD = auto()
    RENAME_OLD = auto()
    RENAME_NEW = auto()
    START_NEW = auto()
    WATCH_NEW = auto()
    REMOVE_OLD = auto()
    RESTORE = auto()
    """Go back: the phase becomes RESTORING, on disk first."""
    STOP_NEW = auto()
    REMOVE_NEW = auto()
    NAME_OLD = auto()
    START_OLD = auto()
    RECREATED = auto()
    """It is over: the copy has the place."""
    RESTORED = auto()
    """It is over: the old one has its place."""
    REPLACED = auto()
    """It is over: a third container has the name. It was left alone."""
    GONE = auto()
    """It is over: both were removed."""


def next_act(entry: Recreation, seen: Situation) -> Act:
    """Return what is to be done next."""
    new = seen.new if _ours(entry, seen.new) else None
    if entry.phase is Phase.CREATING:
        return _undo_copy(new)
    if entry.phase is Phase.COMPOSING:
        return _after_compose(entry, seen, new)
    if seen.old is None:
        return _new_alone(entry, seen, new)
    if entry.phase is Phase.RESTORING or new is None:
        return _restore(entry, seen, seen.old, new)
    return _swap(entry, seen, seen.old, new)


def _undo_copy(new: Place | None) -> Act:
    if new is None:
        return Act.RESTORED
    return Act.STOP_NEW if new.runs else Act.REMOVE_NEW


def _after_compose(entry: Recreation, seen: Situation, new: Place | None) -> Act:
    """Return what is to be done once compose has ended, however it did."""
    if seen.old is None:
        return _new_alone(entry, seen, new)
    if new is not None and new.name == entry.name and new.runs:
        put_aside = seen.old.name == entry.composes_name and not seen.old.runs
        return _prove(entry, seen, new, Act.REMOVE_OLD if put_aside else Act.RECREATED)
    return Act.RESTORE


def _new_alone(entry: Recreation, seen: Situation, new: Place | None) -> Act:
    if new is None:
        return Act.REPLACED if seen.taken else Act.GONE
    if new.name != entry.name:
        if not seen.taken:
            return Act.RENAME_NEW
        return Act.STOP_NEW if new.runs else Act.REMOVE_NEW
    return _prove(entry, seen, new, Act.RECREATED)


def _prove(entry: Recreation, seen: Situation, new: Place, then: Act) -> Act:
    if not entry.ran or seen.proven:
        return then
    return Act.WATCH_NEW if new.runs else Act.START_NEW


def _swap(entry: Recreation, seen: Situation, old: Place, new: Place) -> Act:
    if old.name == entry.name:
        if not old.runs:
            return Act.RENAME_OLD
        # A stop of ours may be under way yet. Another run is somebody's wish.
        return Act.STOP_OLD if old.run == entry.run else Act.RESTORE
    if old.name not in (entry.old_name, entry.composes_name):
        return Act.RESTORE  # a person renamed it
    if old.runs:
        return Act.STOP_OLD
    if new.name != entry.name:
        return Act.RESTORE if seen.taken else Act.RENAME_NEW
    return _prove(entry, seen, new, Act.REMOVE_OLD)


def _restore(entry: Recreation, seen: Situation, old: Place, new: Place | None) -> Act:
    if new is not None:
        return _undo_copy(new)
    if old.name in (entry.old_name, entry.composes_name):
        return Act.REPLACED if seen.taken else Act.NAME_OLD
    if entry.ran and not old.runs and not seen.taken and not seen.restarted:
        return Act.START_OLD
    return Act.RESTORED


def _ours(entry: Recreation, new: Place | None) -> bool:
    return new is not None and new.name in (entry.name, entry.new_name, entry.composes_name)
