"""Pinning of a snapshot by hand, so that retention never removes it, and the opposite."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiidpd.components.backup.process import marker, pins
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.faults import target_fault
from aiidpd.components.backup.process.names import shown
from aiidpd.components.backup.process.requests import PinRequest
from aiidpd.components.backup.process.results import PinResult
from aiidpd.components.backup.process.store import Store
from aiidpd.kernel.errors import NotFound, Unavailable

_LONGEST: Final = 500  # characters of a reason
_REMEDY: Final = "name one that `aiidpctl backup list` shows"


def change_pin(request: PinRequest, control: Control) -> PinResult:
    """Carry out ``request``; a new reason takes the place of an earlier one. Blocks.

    Raises :class:`NotFound` where there is no such snapshot (a pin that has outlived its own can be removed),
    :class:`Conflict` where the target is in use, :class:`Unavailable`.
    """
    store = Store(Path(request.target))
    store.check()
    target = marked(store, request.expected, "pin a snapshot of")
    action = "pin" if request.reason else "unpin"
    try:
        with store.locked(control):
            pinned = read_pins(store.target)
            before = pinned.pop(request.snapshot, "")
            known = request.snapshot in store.identities()
            if not known and (request.reason or not before):
                reason = f"{store.target} has no such snapshot"
                raise NotFound(action, shown(request.snapshot[:80]), reason=reason, remedy=_REMEDY)
            reason = shown(request.reason.strip())[:_LONGEST]
            if reason:
                pinned[request.snapshot] = reason
            if reason != before:
                pins.write(store.target, pinned)
    except OSError as error:
        raise target_fault(str(error.filename or store.target), error) from error
    return PinResult(target, request.snapshot, reason, before)


def read_pins(target: Path) -> dict[str, str]:
    """Return the pins of a target; raises :class:`Unavailable`, for without them nothing may go. Blocks."""
    try:
        return pins.read(target)
    except OSError as error:
        raise target_fault(str(target / pins.PINS), error) from error
    except ValueError as error:
        remedy = f"correct {target / pins.PINS}, or remove it, and pin anew what has to stay"
        raise Unavailable("read the pins of", str(target), reason=str(error), remedy=remedy) from error


def marked(store: Store, expected: str, action: str) -> str:
    """Return the id of a target that has snapshots, empty for one from before there were ids. Blocks.

    Raises :class:`Unavailable` where it is not the target that is ``expected``, or none at all.
    """
    found = marker.examine(store.target, expected)
    verdict, reason, remedy = marker.decide(found)
    if verdict is marker.Verdict.REFUSE:
        raise Unavailable(action, str(store.target), reason=reason, remedy=remedy)
    return found.marker.id if found.marker is not None else ""
