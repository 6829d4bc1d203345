"""Keys in their folder: the registry and the files of each. Whoever changes them holds the folder's lock."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

from aiidpd.components.secrets.folder import KeyFolder
from aiidpd.components.secrets.formats import NotOurs, parse, render
from aiidpd.components.secrets.problem import Refused, SecretsError
from aiidpd.components.secrets.registry import Format, KeyEntry, Registry
from aiidpd.components.secrets.state import Rotation, Which
from aiidpd.platform.codec import Mismatch, compose, decoder
from aiidpd.platform.codec import parse as parse_json

T = TypeVar("T")

REGISTRY: Final = "registry.json"
_JOURNAL: Final = ".rotation.json"


class KeyStore:
    """Keys of one open ``folder``."""

    def __init__(self, folder: KeyFolder) -> None:
        self.folder = folder

    # Registry

    def entries(self) -> dict[str, KeyEntry]:
        """Return all keys by name; raises :class:`SecretsError`."""
        found = self._document(REGISTRY, Registry)
        return {} if found is None else {each.name: each for each in found.keys}

    def entry(self, name: str) -> KeyEntry:
        """Return the key ``name``; raises :class:`Refused` where there is none."""
        known = self.entries()
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise Refused(
                "find key", name[:64], reason="there is none of this name", remedy=f"known: {names}"
            )
        return known[name]

    def put(self, entry: KeyEntry) -> None:
        """Write ``entry`` into the registry."""
        if problem := entry.problem():
            raise Refused("note key", entry.name[:64], reason=problem)
        self._save(self.entries() | {entry.name: entry})

    def forget(self, name: str) -> None:
        """Remove the key ``name`` from the registry."""
        self._save({known: entry for known, entry in self.entries().items() if known != name})

    def _save(self, entries: dict[str, KeyEntry]) -> None:
        registry = Registry(1, tuple(entries[name] for name in sorted(entries)))
        try:
            registry.validate()
        except ValueError as error:
            raise Refused("note keys in", self.folder.path, reason=str(error)) from None
        self.folder.write(REGISTRY, compose(registry, indent=2).encode())

    # Keys

    def key(self, entry: KeyEntry) -> str:
        """Return the key that is sent now; raises :class:`SecretsError`."""
        found = self._keys(entry.key_file, Format.PLAIN)
        if found is None:
            remedy = f"`aiidpctl secrets remove {entry.name}` and `generate` make a new one"
            raise SecretsError(
                "read", self.folder.at(entry.key_file), reason="it does not exist", remedy=remedy
            )
        return found[0]

    def engine_keys(self, entry: KeyEntry) -> tuple[str, ...] | None:
        """Return the keys that the server's file has, None where there is no file."""
        return self._keys(entry.engine_file, entry.format)

    def create(self, entry: KeyEntry, key: str) -> None:
        """Write the files of a new key, its registry entry last."""
        self.write_users(entry, key)
        self.write_engine(entry, (key,))
        self.put(entry)

    def write_engine(self, entry: KeyEntry, keys: Sequence[str]) -> None:
        """Make the server's file hold ``keys``; raises where somebody else has written that file."""
        self.engine_keys(entry)
        self.folder.write(entry.engine_file, render(entry.format, keys), uid=entry.uid, gid=entry.gid)

    def write_users(self, entry: KeyEntry, key: str) -> None:
        """Make the files of those who send the key hold ``key``, the copies too."""
        data = render(Format.PLAIN, (key,))
        if entry.overlaps:
            self.folder.write(entry.key_file, data)
        else:
            self.folder.write(entry.key_file, data, uid=entry.uid, gid=entry.gid)
        for path in entry.copies:
            directory, _, name = path.rpartition("/")
            with KeyFolder.open(directory or "/", private=False) as folder:
                facts = folder.facts(name)
                uid, gid = (facts.st_uid, facts.st_gid) if facts is not None else (-1, -1)
                folder.write(name, data, uid=uid, gid=gid)

    def user_keys(self, entry: KeyEntry) -> frozenset[str] | None:
        """Return the keys that the files of those who send one hold; None where one can't be read."""
        found: set[str] = set()
        try:
            found.add(self.key(entry))
            for path in entry.copies:
                found.add(self.copy(path))
        except SecretsError:
            return None
        return frozenset(found)

    def copy(self, path: str) -> str:
        """Return the key in the copy at ``path``; raises :class:`SecretsError`."""
        directory, _, name = path.rpartition("/")
        with KeyFolder.open(directory or "/", private=False) as folder:
            data = folder.read(name)
        if data is None:
            raise SecretsError("read", path, reason="it does not exist")
        return _parsed(path, Format.PLAIN, data)[0]

    def remove(self, entry: KeyEntry) -> None:
        """Remove the key: from the registry first, then its files and copies."""
        self.forget(entry.name)
        self.end_rotation(entry)
        for name in dict.fromkeys((entry.engine_file, entry.key_file)):
            self.folder.remove(name)
        for path in entry.copies:
            directory, _, name = path.rpartition("/")
            with suppress(SecretsError), KeyFolder.open(directory or "/", private=False) as folder:
                folder.remove(name)

    # Rotation

    def rotation(self, name: str) -> Rotation | None:
        """Return the rotation of the key ``name`` that has begun; None where there is none."""
        return self._document(name + _JOURNAL, Rotation)

    def begin_rotation(self, entry: KeyEntry, rotation: Rotation, key: str) -> None:
        """Write both keys of a rotation to files of their own, then its journal."""
        for which, each in ((Which.PREVIOUS, self.key(entry)), (Which.NEXT, key)):
            self.folder.write(f"{entry.name}.{which}", render(Format.PLAIN, (each,)))
        self.note(rotation)

    def note(self, rotation: Rotation) -> None:
        """Write the journal of a rotation: it is on the disk on return."""
        self.folder.write(rotation.name + _JOURNAL, compose(rotation).encode())

    def rotating(self, entry: KeyEntry) -> dict[Which, str]:
        """Return both keys of a rotation; raises :class:`SecretsError` where one is gone."""
        found = {which: self._keys(f"{entry.name}.{which}", Format.PLAIN) for which in Which}
        missing = [which for which, keys in found.items() if keys is None]
        if missing:
            raise SecretsError(
                "rotate",
                entry.name,
                reason=f"its file {self.folder.at(f'{entry.name}.{missing[0]}')} is gone",
                remedy="restore it from a backup, or remove the key and generate another one",
            )
        return {which: keys[0] for which, keys in found.items() if keys is not None}

    def end_rotation(self, entry: KeyEntry) -> None:
        """Remove both keys' own files, what is half written of copies, and the journal last."""
        for path in entry.copies:
            directory, _, name = path.rpartition("/")
            with suppress(SecretsError), KeyFolder.open(directory or "/", private=False) as folder:
                folder.discard(name)
        for which in Which:
            self.folder.remove(f"{entry.name}.{which}")
        self.folder.remove(entry.name + _JOURNAL)

    # Files

    def _keys(self, name: str, form: Format) -> tuple[str, ...] | None:
        data = self.folder.read(name)
        return None if data is None else _parsed(self.folder.at(name), form, data)

    def _document(self, name: str, kind: type[T]) -> T | None:
        data = self.folder.read(name)
        if data is None:
            return None
        try:
            return decoder(kind)(parse_json(data.decode()))
        except (Mismatch, UnicodeDecodeError, json.JSONDecodeError) as error:
            reason = str(error) if isinstance(error, Mismatch) else "it is no JSON document"
        except ValueError as error:
            reason = str(error)
        raise SecretsError("use", self.folder.at(name), reason=reason, remedy="restore it from a backup")


def _parsed(path: str, form: Format, data: bytes) -> tuple[str, ...]:
    try:
        return parse(form, data)
    except NotOurs as error:
        raise SecretsError(
            "use", path, reason=str(error), remedy="it has to be as `aiidpctl secrets` wrote it"
        ) from None


def new_key(bits: int) -> str:
    """Return a key of ``bits`` from the system's generator, in hex: no server and no file takes it amiss."""
    return secrets.token_hex(bits // 8)


def new_entry(name: str, form: Format, bits: int) -> KeyEntry:
    """Return an entry that begins now and belongs to this process's user."""
    return KeyEntry(name, form, bits, time.time(), os.geteuid(), os.getegid())


def renewed(entry: KeyEntry, bits: int) -> KeyEntry:
    """Return ``entry`` with a key that begins now."""
    return replace(entry, bits=bits, created_at=time.time())
