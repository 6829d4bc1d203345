"""Next step of a rotation, by what is so now (pure).

Each step makes something so and can be taken again: whatever cuts a rotation short, the next call reads the
files, queries the server, and goes on. At every moment the server accepts each key that somebody may send.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from aiidpd.components.secrets.registry import HAND
from aiidpd.components.secrets.state import Phase, Rotation, Which


class Answer(StrEnum):
    """Answers of a server to a key."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Observed:
    """Files and server as they are."""

    engine_keys: frozenset[Which] | None
    """Keys in the server's file; None where it has others or can't be read."""
    user_keys: frozenset[Which] | None
    """Keys in the files of those who send one; None likewise."""
    callers: tuple[str, ...]
    """Users of the key."""
    previous: Answer = Answer.UNKNOWN
    next: Answer = Answer.UNKNOWN
    wrong: Answer = Answer.UNKNOWN
    """Answer to a key that never was one."""
    reason: str = ""
    """Why no answer is known."""
    restarted: bool = False
    """True where this call has restarted the server since its file was last written."""
    silent: bool = False
    """True where the server has given no answer for long."""
    by_hand: bool = False
    """True where a person restarts the server."""
    verifiable: bool = True
    """False where the server's address is not known, or a person said that it is gone."""
    confirmed: bool = False
    """True where a person said that those provided by hand have the key."""

    def answer(self, which: Which) -> Answer:
        """Return the server's answer to one of the two keys."""
        return self.previous if which is Which.PREVIOUS else self.next


@dataclass(frozen=True, slots=True)
class WriteEngine:
    """Write these keys into the server's file."""

    keys: tuple[Which, ...]


@dataclass(frozen=True, slots=True)
class WriteUsers:
    """Write this key into the files of those who send one."""

    key: Which


@dataclass(frozen=True, slots=True)
class Restart:
    """Have the server read its file again."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Have one of those who send the key read it again."""

    user: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """Have a person say that those provided by hand have the key."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for the server."""

    reason: str


@dataclass(frozen=True, slots=True)
class Advance:
    """Write the next phase into the journal."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Note the new key, and remove what the rotation needed."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Give up for now: something is so that no step can change."""

    reason: str
    remedy: str


Action: TypeAlias = WriteEngine | WriteUsers | Restart | Notify | Confirm | Wait | Advance | Finish | Stuck

_BOTH = (Which.PREVIOUS, Which.NEXT)


def step(rotation: Rotation, observed: Observed) -> Action:
    """Return the next step of ``rotation``."""
    match rotation.phase:
        case Phase.ADD:
            return _add(rotation, observed)
        case Phase.SWITCH:
            return _switch(rotation, observed)
        case Phase.DROP:
            return _drop(rotation, observed)
        case Phase.CLEAN:
            return Finish()


def _add(rotation: Rotation, observed: Observed) -> Action:
    if observed.engine_keys != frozenset(_BOTH):
        return WriteEngine(_BOTH)
    return _served(rotation, observed, dict.fromkeys(_BOTH, Answer.ACCEPTED))


def _switch(rotation: Rotation, observed: Observed) -> Action:
    if observed.user_keys != frozenset((rotation.remains,)):
        return WriteUsers(rotation.remains)
    for user in observed.callers:
        if user not in rotation.notified and user != HAND:
            return Notify(user)
    if HAND in observed.callers and HAND not in rotation.notified:
        return Notify(HAND) if observed.confirmed else Confirm()
    return Advance()


def _drop(rotation: Rotation, observed: Observed) -> Action:
    if observed.engine_keys != frozenset((rotation.remains,)):
        return WriteEngine((rotation.remains,))
    return _served(rotation, observed, {rotation.remains: Answer.ACCEPTED, rotation.goes: Answer.REFUSED})


def _served(rotation: Rotation, observed: Observed, wanted: dict[Which, Answer]) -> Action:
    """Return how the server is brought to answer as ``wanted``."""
    answers = {which: observed.answer(which) for which in wanted}
    if not observed.verifiable or (answers == wanted and observed.wrong is Answer.REFUSED):
        return Advance()
    if observed.wrong is Answer.ACCEPTED:
        return Stuck(
            "it answers without a key", "start it with its key file (docs/secrets.md), then call this again"
        )
    if rotation.back and observed.silent and not observed.restarted:
        return Restart()  # it may have ended because of what it was to accept
    if Answer.UNKNOWN in (observed.wrong, *answers.values()) or (observed.restarted and observed.by_hand):
        return Wait(observed.reason or "it has not read its keys again")
    if not observed.restarted:
        return Restart()
    words = ", ".join(f"the {which} key is {answer}" for which, answer in sorted(answers.items()))
    return Stuck(
        f"it was restarted, and still {words}",
        "let it read the file that `aiidpctl secrets list` names, then call this again, or with --back",
    )
