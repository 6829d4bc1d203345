"""One rotation, carried out: reads what is so, takes the step that is decided, and writes the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from aiidpd.components.secrets.decide import (
    Action,
    Advance,
    Answer,
    Confirm,
    Finish,
    Notify,
    Observed,
    Restart,
    Stuck,
    Wait,
    WriteEngine,
    WriteUsers,
    step,
)
from aiidpd.components.secrets.engine import Answers, query
from aiidpd.components.secrets.formats import MOST_BYTES
from aiidpd.components.secrets.problem import Refused, SecretsError
from aiidpd.components.secrets.registry import DAEMON, HAND, KeyEntry
from aiidpd.components.secrets.restarts import Restarts
from aiidpd.components.secrets.state import (
    NoWayBack,
    Phase,
    Rotation,
    Which,
    advanced,
    begin,
    notified,
    turned_back,
)
from aiidpd.components.secrets.store import KeyStore, new_key, renewed

_PAUSE: Final = 0.5  # seconds between two requests to a server that is waited for
_SILENT: Final = 60.0  # seconds without an answer after which a server may have ended
_EVERY: Final = 5.0  # seconds between two lines about the same wait
_REPORTED: Final[Mapping[Phase, str]] = {
    Phase.ADD: "the server is to accept both keys",
    Phase.SWITCH: "those who send the key get the one that remains",
    Phase.DROP: "the server is to accept that one alone",
    Phase.CLEAN: "both are verified",
}


class End(Enum):
    """Ends of a call."""

    DONE = "rotated"
    BACK = "back"
    CONFIRM = "waits"
    """A person has to give it to those who get it by hand, and say so."""


@dataclass(frozen=True, slots=True)
class RotationOptions:
    """Options of a call."""

    bits: int = 0
    """Bits of the new key; 0 for as many as it is usual for its name."""
    back: bool = False
    confirmed: bool = False
    """Those who get the key by hand have it."""
    with_gap: bool = False
    unverified: bool = False
    """True where the server is gone, and need not answer."""
    patience: float = 600.0
    """Seconds for which the server may be silent."""


@dataclass(frozen=True, slots=True)
class Means:
    """Means of a rotation; ``report`` takes a line for the person."""

    store: KeyStore
    restarts: Restarts
    report: Callable[[str], None]
    query: Callable[[str, Sequence[str]], Answers] = query
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    handed: Path = Path("/run/credentials/aiidpd.service")
    """Folder of the credentials that systemd has handed to the daemon."""


def rotate(means: Means, entry: KeyEntry, options: RotationOptions) -> End:
    """Rotate the key of ``entry``, or go on with what has begun; raises :class:`ControlError`."""
    return _Call(means, entry, options, _begun(means, entry, options)).run()


def _begun(means: Means, entry: KeyEntry, options: RotationOptions) -> Rotation:
    rotation = means.store.rotation(entry.name)
    if rotation is None:
        return _begin(means, entry, options)
    if options.back and not rotation.back:
        try:
            rotation = turned_back(rotation)
        except NoWayBack as error:
            raise Refused(
                "go back with",
                entry.name,
                reason=str(error),
                remedy="call this without --back, then rotate anew",
            ) from None
        means.store.note(rotation)
    if options.unverified and not rotation.back:
        raise Refused(
            "go on with", entry.name, reason="--unverified is for --back alone", remedy="leave it out"
        )
    _check_confirmed(means, entry, options, rotation)
    where = "goes back" if rotation.back else "goes on"
    means.report(f"the rotation of {entry.name} that has begun {where}")
    return rotation


def _begin(means: Means, entry: KeyEntry, options: RotationOptions) -> Rotation:
    name = entry.name
    if options.back:
        raise Refused("go back with", name, reason="no rotation of it has begun")
    _check_confirmed(means, entry, options, None)
    if options.unverified:
        raise Refused("rotate", name, reason="--unverified is for --back alone", remedy="leave it out")
    if not entry.overlaps and not options.with_gap:
        raise Refused(
            "rotate",
            name,
            reason="who reads one key alone refuses the old one as soon as it has the new one",
            remedy="say --with-gap if that may be",
        )
    if entry.overlaps and not entry.url:
        raise Refused(
            "rotate",
            name,
            reason="its server's address is not known, so nothing could be verified",
            remedy=f"`aiidpctl secrets set {name} --url http://127.0.0.1:PORT`",
        )
    rotation = begin(name, time.time(), with_gap=not entry.overlaps)
    means.store.begin_rotation(entry, rotation, new_key(options.bits or entry.bits or 256))
    return rotation


def _check_confirmed(
    means: Means, entry: KeyEntry, options: RotationOptions, rotation: Rotation | None
) -> None:
    """Refuse a person's word that all have a key which was given to nobody yet."""
    if not options.confirmed:
        return
    given = rotation is not None and rotation.phase is Phase.SWITCH
    if rotation is None or not given or not _holds(means, entry, rotation.remains):
        raise Refused(
            "believe --switched for",
            entry.name,
            reason="the key that remains is not in the users' files yet",
            remedy="call this without it first: it says when",
        )


def _holds(means: Means, entry: KeyEntry, which: Which) -> bool:
    keys = means.store.rotating(entry)
    return means.store.user_keys(entry) == frozenset((keys[which],))


class _Call:
    """One call: ``rotation`` is what its journal holds."""

    def __init__(self, means: Means, entry: KeyEntry, options: RotationOptions, rotation: Rotation) -> None:
        self._means = means
        self._entry = entry
        self._wishes = options
        self._rotation = rotation
        self._restarted = False
        self._silent_since: float | None = None
        self._reported: tuple[float, str] = (float("-inf"), "")

    def run(self) -> End:
        self._means.report(f"{self._entry.name}: {_REPORTED[self._rotation.phase]}")
        while True:
            action = step(self._rotation, self._observe())
            if not isinstance(action, Wait):
                self._silent_since = None
            if isinstance(action, Confirm):
                return self._confirm()
            if isinstance(action, Stuck):
                raise SecretsError("rotate", self._entry.name, reason=action.reason, remedy=action.remedy)
            if isinstance(action, Finish):
                return self._finish()
            self._take(action)

    # What is so

    def _observe(self) -> Observed:
        if self._rotation.phase is Phase.CLEAN:
            return Observed(None, None, ())
        store, entry = self._means.store, self._entry
        keys = store.rotating(entry)
        verifiable = bool(entry.url) and not self._wishes.unverified
        engine_keys = _which(_readable(lambda: store.engine_keys(entry)), keys)
        due = self._rotation.phase in (Phase.ADD, Phase.DROP) and verifiable
        answers = Answers(Answer.UNKNOWN, (Answer.UNKNOWN, Answer.UNKNOWN))
        if due:
            answers = self._means.query(entry.url, (keys[Which.PREVIOUS], keys[Which.NEXT]))
        return Observed(
            engine_keys,
            _which(store.user_keys(entry), keys),
            entry.callers,
            previous=answers.keys[0],
            next=answers.keys[1],
            wrong=answers.wrong,
            reason=answers.reason,
            restarted=self._restarted,
            silent=self._silent_since is not None and self._means.clock() - self._silent_since >= _SILENT,
            by_hand=self._means.restarts.by_hand,
            verifiable=verifiable,
            confirmed=self._wishes.confirmed,
        )

    # Steps

    def _take(self, action: Action) -> None:
        store, entry = self._means.store, self._entry
        match action:
            case WriteEngine(keys):
                own = store.rotating(entry)
                store.write_engine(entry, [own[which] for which in keys])
                self._restarted = False
            case WriteUsers(key):
                store.write_users(entry, store.rotating(entry)[key])
            case Restart():
                self._restarted = self._means.restarts.engine(entry)
            case Notify(user):
                if user != HAND:
                    self._means.restarts.user(entry, user)
                if user == DAEMON:
                    self._check_handed(store.rotating(entry)[self._rotation.goes])
                self._note(notified(self._rotation, user))
            case Wait(reason):
                self._wait(reason)
            case Advance():
                self._note(advanced(self._rotation))
                self._means.report(f"{entry.name}: {_REPORTED[self._rotation.phase]}")

    def _check_handed(self, old: str) -> None:
        """Raise where systemd has handed the daemon the ``old`` key, which no reload changes."""
        for path in sorted(self._means.handed.glob("aiidpd.*")):
            try:
                with path.open("rb") as file:
                    held = file.read(MOST_BYTES).strip()
            except OSError:
                continue
            if held == old.encode():
                raise SecretsError(
                    "give the new key to",
                    "aiidpd",
                    reason=f"systemd handed it the old one when it started ({path.name})",
                    remedy="`systemctl restart aiidpd`, then call this again; "
                    f"`aiidpctl secrets set {self._entry.name} --user unit:aiidpd.service` next time",
                )

    def _note(self, rotation: Rotation) -> None:
        self._means.store.note(rotation)
        self._rotation = rotation

    def _wait(self, reason: str) -> None:
        """Wait a moment for the server; raises once its patience is spent."""
        now = self._means.clock()
        since = self._silent_since = now if self._silent_since is None else self._silent_since
        if now - since >= self._wishes.patience:
            raise SecretsError(
                "rotate",
                self._entry.name,
                reason=f"its server at {self._entry.url} gave no answer for {now - since:.0f} s: {reason}",
                remedy="nothing is lost: call this again to go on, or with --back",
            )
        at, words = self._reported
        if words != reason or now - at >= _EVERY:
            self._means.report(f"waiting for the server at {self._entry.url}: {reason} ({now - since:.0f} s)")
            self._reported = (now, reason)
        self._means.sleep(_PAUSE)

    def _confirm(self) -> End:
        path = self._means.store.folder.at(self._entry.key_file)
        now = "it is time" if self._rotation.with_gap else "both keys are accepted"
        self._means.report(
            f"{now}: give the one in {path} to all who send it, "
            f"then `aiidpctl secrets rotate {self._entry.name} --switched`"
        )
        return End.CONFIRM

    def _finish(self) -> End:
        store, entry = self._means.store, self._entry
        if not self._rotation.back:
            store.put(renewed(entry, 4 * len(store.key(entry))))  # it is in hex
        store.end_rotation(entry)
        return End.BACK if self._rotation.back else End.DONE


def _readable(read: Callable[[], tuple[str, ...] | None]) -> frozenset[str] | None:
    try:
        found = read()
    except SecretsError:
        return None  # whoever writes it anew says what is wrong
    return None if found is None else frozenset(found)


def _which(found: frozenset[str] | None, keys: Mapping[Which, str]) -> frozenset[Which] | None:
    """Return which of the two ``keys`` were found; None where anything else was."""
    if found is None or not found <= set(keys.values()):
        return None
    return frozenset(which for which, key in keys.items() if key in found)
