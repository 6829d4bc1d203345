"""Next act of a trial of an image, from its entry, the wish for it and what the runtime shows (pure).

Each act is decided anew from what is there, so that it makes no difference how an earlier process ended, nor
whether the runtime carried out a call whose answer was lost. Of the containers those are ours that have one
of our names: one that a person has renamed is that person's.

Whatever happens, a trial ends in one of these: the old container has its place and runs, the new one was kept
and runs, or somebody has taken one of them away.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from aiidpd.components.containers.recreate.state import Place
from aiidpd.components.containers.trial.state import ImageTrial, Phase, Situation
from aiidpd.contracts.trials import Wish


class Act(Enum):
    """Act on one of the containers, or an end."""

    SERVES = auto()
    """Nothing is to be done: it is as it is wished."""
    CREATE_NEW = auto()
    CREATE_BESIDE = auto()
    START_BESIDE = auto()
    STOP_BESIDE = auto()
    REMOVE_BESIDE = auto()
    STOP_OLD = auto()
    RENAME_OLD = auto()
    NAME_OLD = auto()
    START_OLD = auto()
    REMOVE_OLD = auto()
    STOP_NEW = auto()
    RENAME_NEW = auto()
    NAME_NEW = auto()
    START_NEW = auto()
    REMOVE_NEW = auto()
    KEEP = auto()
    """The phase becomes KEEPING, on disk first."""
    RETURN = auto()
    """The phase becomes RETURNING, on disk first."""
    RETURNED = auto()
    """It is over: the old one has its place."""
    KEPT = auto()
    """It is over: the new one has the place."""
    REPLACED = auto()
    """It is over: somebody has given the name to another container, or another name to ours."""
    GONE = auto()
    """It is over: somebody has removed the old one. The new one has its place, where it is there."""


ENDS: Final = frozenset({Act.RETURNED, Act.KEPT, Act.REPLACED, Act.GONE})
ENDED: Final = "the new one ended"
REMOVED: Final = "somebody has removed the new one"
RESTARTED: Final = "somebody has stopped or started it anew meanwhile"
RENAMED: Final = "somebody has renamed a container of it meanwhile"


def next_act(entry: ImageTrial, seen: Situation, wish: Wish) -> tuple[Act, str]:  # noqa: PLR0911 -- a table
    """Return what is to be done next, and why, where that is to go back."""
    new = seen.new if seen.new is not None and seen.new.name in (entry.name, entry.new_name) else None
    if entry.phase is Phase.RETURNING:
        return _return(entry, seen, new), ""
    if entry.phase is Phase.KEEPING:
        return _keep(entry, seen, new)
    if entry.barred:
        return Act.RETURN, "an emergency has stopped it"
    if seen.old is None:
        return Act.RETURN, "somebody has removed the old one"
    if wish in (Wish.BACK, Wish.PLAN):
        return Act.RETURN, ""
    if seen.old.name not in (entry.name, entry.old_name) or (entry.new and seen.new is not None and not new):
        return Act.RETURN, RENAMED
    if wish is Wish.KEEP:
        return _wish_to_keep(entry, seen, new)
    return (
        _new_serves(entry, seen, seen.old, new) if wish is Wish.NEW else _old_serves(entry, seen, new, wish)
    )


def _wish_to_keep(entry: ImageTrial, seen: Situation, new: Place | None) -> tuple[Act, str]:
    serves = new is not None and new.name == entry.name and new.runs and new.run == entry.new_run
    if serves and seen.beside is None:
        return Act.KEEP, ""
    return Act.RETURN, "the new one does not run, so that it is not kept"


def _new_serves(entry: ImageTrial, seen: Situation, old: Place, new: Place | None) -> tuple[Act, str]:  # noqa: PLR0911 -- a table
    if seen.beside is not None:
        return (Act.STOP_BESIDE if seen.beside.runs else Act.REMOVE_BESIDE), ""
    if not entry.new:
        return Act.CREATE_NEW, ""
    if new is None:
        return Act.RETURN, REMOVED
    if old.runs:
        if old.name == entry.name and old.run != entry.run:
            return Act.RETURN, RESTARTED
        return Act.STOP_OLD, ""  # the runtime may have started it too, when it came back itself
    if not entry.stopped:
        return Act.RETURN, RESTARTED
    if old.name == entry.name:
        return Act.RENAME_OLD, ""
    if new.name != entry.name:
        return (Act.RETURN, "another container has taken its name") if seen.taken else (Act.NAME_NEW, "")
    if entry.new_run and (not new.runs or new.run != entry.new_run):
        return Act.RETURN, ENDED
    return (Act.SERVES if new.runs and entry.new_run else Act.START_NEW), ""


def _old_serves(  # noqa: PLR0911 -- a table
    entry: ImageTrial, seen: Situation, new: Place | None, wish: Wish
) -> tuple[Act, str]:
    old = seen.old
    if new is not None and new.runs:
        return Act.STOP_NEW, ""
    if new is not None and new.name == entry.name:
        return Act.RENAME_NEW, ""
    if old is not None and old.name != entry.name:
        return (Act.RETURN, "another container has taken its name") if seen.taken else (Act.NAME_OLD, "")
    if old is not None and not old.runs:
        return (Act.START_OLD, "") if entry.stopped else (Act.RETURN, RESTARTED)
    if old is not None and not entry.stopped and old.run != entry.run:
        return Act.RETURN, RESTARTED
    if wish is Wish.BESIDE:
        return _beside_serves(entry, seen)
    if seen.beside is not None:
        return (Act.STOP_BESIDE if seen.beside.runs else Act.REMOVE_BESIDE), ""
    return Act.SERVES, ""


def _beside_serves(entry: ImageTrial, seen: Situation) -> tuple[Act, str]:
    if not entry.beside:
        return Act.CREATE_BESIDE, ""
    if seen.beside is None:
        return Act.RETURN, REMOVED
    if not entry.new_run:
        return Act.START_BESIDE, ""
    if not seen.beside.runs or seen.beside.run != entry.new_run:
        return Act.RETURN, ENDED
    return Act.SERVES, ""


def _return(entry: ImageTrial, seen: Situation, new: Place | None) -> Act:  # noqa: PLR0911 -- a table
    """Return what is to be done so that the old one serves; what is left of the new one goes last."""
    if seen.old is None:
        return _alone(entry, seen, new)
    if new is not None and new.runs:
        return Act.STOP_NEW
    if seen.beside is not None and seen.beside.runs:
        return Act.STOP_BESIDE
    if new is not None and new.name == entry.name:
        return Act.RENAME_NEW
    free = not seen.taken
    if seen.old.name == entry.old_name and free:
        return Act.NAME_OLD
    if seen.old.name == entry.name and entry.stopped and not seen.old.runs and not entry.barred:
        return Act.START_OLD
    if new is not None:
        return Act.REMOVE_NEW
    if seen.beside is not None:
        return Act.REMOVE_BESIDE
    return Act.RETURNED if seen.old.name == entry.name else Act.REPLACED


def _keep(entry: ImageTrial, seen: Situation, new: Place | None) -> tuple[Act, str]:
    old = seen.old
    if old is not None and old.name not in (entry.name, entry.old_name):
        old = None  # a person renamed it: it is that person's
    if old is None:
        if new is None:
            return (Act.REPLACED if seen.taken else Act.GONE), ""
        return _place(entry, seen, new) or Act.KEPT, ""
    if new is None or new.name != entry.name:
        return Act.RETURN, REMOVED
    if not new.runs and not entry.barred:
        return Act.RETURN, ENDED
    return (Act.STOP_OLD if old.runs else Act.REMOVE_OLD), ""


def _alone(entry: ImageTrial, seen: Situation, new: Place | None) -> Act:
    """Return what is to be done where the old one is gone.

    Had it served, somebody has removed an engine, and gets no other. Had the new one its place, that is all
    that there is, and stays.
    """
    if seen.beside is not None:
        return Act.STOP_BESIDE if seen.beside.runs else Act.REMOVE_BESIDE
    if new is None:
        return Act.REPLACED if seen.taken else Act.GONE
    if not entry.stopped:
        return Act.STOP_NEW if new.runs else Act.REMOVE_NEW
    return _place(entry, seen, new) or Act.GONE


def _place(entry: ImageTrial, seen: Situation, new: Place) -> Act | None:
    """Return what the new one lacks for the place; None where it has it, or can't get it."""
    if new.name != entry.name:
        if not seen.taken:
            return Act.NAME_NEW
        return Act.STOP_NEW if new.runs else Act.REMOVE_NEW
    return None if new.runs or entry.barred else Act.START_NEW
