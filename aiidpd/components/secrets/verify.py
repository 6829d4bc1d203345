"""Checks of keys: their files, their strength, and what their servers answer. No answer holds a key."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiidpd.components.secrets.decide import Answer
from aiidpd.components.secrets.engine import Answers
from aiidpd.components.secrets.problem import SecretsError, words
from aiidpd.components.secrets.registry import KeyEntry
from aiidpd.components.secrets.store import KeyStore
from aiidpd.platform.keys import FileFault, Weakness, file_faults, shared, strength

WEAK: Final[Mapping[Weakness, str]] = {
    Weakness.EMPTY: "it is empty",
    Weakness.UNFIT: "no header can hold it",
    Weakness.SHORT: "it is short",
    Weakness.PLACEHOLDER: "it is made of words of examples and defaults",
    Weakness.TIMESTAMP: "it is made of a date or time",
    Weakness.LOW_ENTROPY: "it repeats itself or counts up",
}
FAULTS: Final[Mapping[FileFault, str]] = {
    FileFault.WORLD_READABLE: "everybody may read it",
    FileFault.GROUP_READABLE: "its group may read it",
    FileFault.WRITABLE: "others may write it",
    FileFault.EXECUTABLE: "it is executable",
    FileFault.OWNER: "it belongs to user",
    FileFault.NO_FILE: "it is no file",
    FileFault.LINKED: "it has a second name",
}


class Outcome(StrEnum):
    """Outcomes of a check."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be made; it counts as failed."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one key."""

    about: str
    outcome: Outcome
    reason: str = ""
    remedy: str = ""

    @property
    def good(self) -> bool:
        """True where nothing is wrong."""
        return self.outcome in (Outcome.OK, Outcome.SKIPPED)


Query = Callable[[str, Sequence[str]], Answers]


def verify(store: KeyStore, names: Sequence[str], query: Query | None) -> dict[str, tuple[Check, ...]]:
    """Return the checks of each of the keys ``names``; without ``query``, none at its server."""
    entries = store.entries()
    twice = shared({name: _held(store, entry) for name, entry in entries.items()})
    return {
        name: (
            *_file_checks(store, entries[name]),
            *_key_checks(store, entries[name], twice.get(name, ())),
            _rotation_check(store, entries[name]),
            *_server_checks(store, entries[name], query),
        )
        for name in names
    }


def _held(store: KeyStore, entry: KeyEntry) -> tuple[str, ...]:
    try:
        return (store.key(entry),)
    except SecretsError:
        return ()


def _file_checks(store: KeyStore, entry: KeyEntry) -> list[Check]:
    checks = [_file_check(store, entry.engine_file, entry.uid)]
    if entry.overlaps:
        checks.append(_file_check(store, entry.key_file, os.geteuid()))
    return checks


def _file_check(store: KeyStore, name: str, owner: int) -> Check:
    path = store.folder.at(name)
    facts = store.folder.facts(name)
    if facts is None:
        return Check(path, Outcome.FAILED, "it does not exist", "`aiidpctl secrets rotate` writes it")
    faults = file_faults(facts.st_mode, facts.st_uid, owners=(owner,), links=facts.st_nlink)
    if not faults:
        return Check(path, Outcome.OK)
    found = [FAULTS[each] + (f" {facts.st_uid}" if each is FileFault.OWNER else "") for each in faults]
    if FileFault.NO_FILE in faults:
        remedy = "remove it, and rotate the key"
    elif FileFault.LINKED in faults:
        remedy = "remove the other name, and rotate the key"
    else:
        remedy = f"chmod 600 {path}; chown {owner} {path}; rotate the key if others read it"
    return Check(path, Outcome.FAILED, ", ".join(found), remedy)


def _key_checks(store: KeyStore, entry: KeyEntry, others: Sequence[str]) -> list[Check]:
    try:
        key, keys = store.key(entry), store.engine_keys(entry)
    except SecretsError as error:
        return [Check("content", Outcome.FAILED, error.reason, "rotate it, or restore it from a backup")]
    rotate = f"`aiidpctl secrets rotate {entry.name}`"
    checks = [_strength_check(store, entry, key, rotate)]
    if others:
        reason = f"{', '.join(others)} has the same key"
        checks.append(Check("uniqueness", Outcome.FAILED, reason, rotate))
    if not _rotating(store, entry) and keys != (key,):
        checks.append(
            Check(
                "content",
                Outcome.FAILED,
                f"{entry.engine_file} and {entry.key_file} hold different keys",
                "rotate it, or restore them from a backup",
            )
        )
    checks += [_copy_check(store, path, key, rotate) for path in entry.copies]
    return checks


def _copy_check(store: KeyStore, path: str, key: str, rotate: str) -> Check:
    try:
        if store.copy(path) != key:
            return Check(path, Outcome.FAILED, "it holds another key", rotate)
        facts = os.lstat(path)
    except SecretsError as error:
        return Check(path, Outcome.FAILED, error.reason, rotate)
    except OSError as error:
        return Check(path, Outcome.FAILED, words(error), rotate)
    faults = file_faults(facts.st_mode, facts.st_uid, owners=(facts.st_uid,), links=facts.st_nlink)
    if not faults:
        return Check(path, Outcome.OK)
    return Check(
        path, Outcome.FAILED, ", ".join(FAULTS[each] for each in faults), f"chmod 600 {path}; {rotate}"
    )


def _strength_check(store: KeyStore, entry: KeyEntry, key: str, rotate: str) -> Check:
    facts = store.folder.facts(entry.key_file)
    found = strength(key, made_at=None if facts is None or entry.bits else facts.st_mtime)
    if not found.weaknesses:
        return Check("strength", Outcome.OK)
    reason = ", ".join(WEAK[each] for each in found.weaknesses)
    return Check("strength", Outcome.FAILED, f"{reason}: {found.bits:.0f} bits at most", rotate)


def _rotating(store: KeyStore, entry: KeyEntry) -> bool:
    try:
        return store.rotation(entry.name) is not None
    except SecretsError:
        return True  # it says so itself


def _rotation_check(store: KeyStore, entry: KeyEntry) -> Check:
    try:
        rotation = store.rotation(entry.name)
    except SecretsError as error:
        return Check("rotation", Outcome.FAILED, error.reason, "restore the journal from a backup")
    if rotation is None:
        return Check("rotation", Outcome.OK)
    remedy = f"`aiidpctl secrets rotate {entry.name}` goes on with it, --back goes back"
    return Check("rotation", Outcome.FAILED, f"it is at phase {rotation.phase}", remedy)


def _server_checks(store: KeyStore, entry: KeyEntry, query: Query | None) -> list[Check]:
    if query is None or not entry.url:
        reason = "its server's address is not known" if query is not None else "left out"
        return [Check("server", Outcome.SKIPPED, reason)]
    try:
        answers = query(entry.url, (store.key(entry),))
    except SecretsError as error:
        return [Check(entry.url, Outcome.UNKNOWN, error.reason)]
    if answers.wrong is Answer.ACCEPTED:
        remedy = "start it with its key file (docs/secrets.md)"
        return [Check(entry.url, Outcome.FAILED, "it answers without a key", remedy)]
    if Answer.UNKNOWN in (answers.wrong, *answers.keys):
        return [Check(entry.url, Outcome.UNKNOWN, answers.reason, "start it, or see its log")]
    if answers.keys != (Answer.ACCEPTED,):
        remedy = f"restart it, so that it reads {store.folder.at(entry.engine_file)}"
        return [Check(entry.url, Outcome.FAILED, "it refuses the key", remedy)]
    return [Check(entry.url, Outcome.OK, "it accepts the key and refuses a wrong one")]
