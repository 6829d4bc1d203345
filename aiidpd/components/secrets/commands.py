"""Commands of ``aiidpctl secrets``. They work as the user who calls them; the daemon has no part."""

from __future__ import annotations

import argparse
import resource
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from aiidpd.cli.session import DONE, FAILED, Session
from aiidpd.components.secrets import rotate as rotation_of
from aiidpd.components.secrets.cli_text import check_lines, key_table
from aiidpd.components.secrets.credential import credential, drop_in
from aiidpd.components.secrets.engine import query
from aiidpd.components.secrets.folder import KeyFolder
from aiidpd.components.secrets.given import facts_given, read_key, with_facts
from aiidpd.components.secrets.problem import Refused, SecretsError
from aiidpd.components.secrets.registry import (
    USUAL_NAMES,
    Format,
    KeyEntry,
    name_problem,
    usual_bits,
    usual_format,
)
from aiidpd.components.secrets.restarts import RealRestarts
from aiidpd.components.secrets.rotate import End, Means, RotationOptions
from aiidpd.components.secrets.store import KeyStore, new_entry, new_key
from aiidpd.components.secrets.verify import verify
from aiidpd.platform.keys import weaknesses

_DROP_IN_MODE = 0o644


@contextmanager
def _store(options: argparse.Namespace, *, create: bool = False, change: bool = False) -> Iterator[KeyStore]:
    """Open the keys, for one process alone where they are to ``change``. No core dump will hold one."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with KeyFolder.open(options.folder, create=create) as folder:
        if change:
            with folder.locked():
                yield KeyStore(folder)
        else:
            yield KeyStore(folder)


def generate(options: argparse.Namespace, session: Session) -> int:
    """Make keys that are not there yet."""
    names = _names(options)
    made, documents = 0, []
    with _store(options, create=True, change=True) as store:
        known = store.entries()
        if options.names and (there := [name for name in names if name in known]):
            raise SecretsError(
                "generate",
                ", ".join(there),
                reason="it is there already",
                remedy="`aiidpctl secrets rotate` replaces a key, `set` changes what is noted about it",
            )
        for name in names:
            if name not in known:
                _create(store, name, options)
                made += 1
            entry = store.entry(name)
            shown = {"key": store.key(entry)} if options.show else {}
            documents.append(_document(store, entry) | shown)
    if session.json:
        session.document({"keys": documents})
        return DONE
    session.data(f"{each['name']} {each['key']}" for each in documents if options.show)
    for each in documents:
        session.report(f"{each['name']}: {each['file']} for the server, {each['key_file']} for who sends it")
    if options.source not in (None, "-"):
        session.report(f"{options.source} still holds the key: remove it")
    if not made:
        session.report("all of them were there already")
    return DONE


def _names(options: argparse.Namespace) -> list[str]:
    """Return the names of the keys to make; raises :class:`Refused`."""
    names = list(dict.fromkeys(options.names)) or list(USUAL_NAMES)
    for name in names:
        if problem := name_problem(name):
            raise Refused("generate", "a key", reason=problem)
    if len(names) != 1 and (facts_given(options) or options.source):
        raise Refused("generate", "keys", reason="such options belong to one key", remedy="name one key")
    return names


def _create(store: KeyStore, name: str, options: argparse.Namespace) -> None:
    form = Format(options.format) if options.format else usual_format(name)
    bits = options.bits or usual_bits(name)
    key, made_at = (new_key(bits), None) if options.source is None else read_key(options.source)
    if options.source is not None:
        weak = weaknesses(key, made_at=time.time() if made_at is None else made_at)
        if weak and not options.accept_weak:
            raise SecretsError(
                "take the key for",
                name,
                reason=f"it is weak: {', '.join(weak)}",
                remedy="let aiidpctl generate one, or say --accept-weak",
            )
        bits = 0
    entry = with_facts(new_entry(name, form, bits), options)
    for file in dict.fromkeys((entry.engine_file, entry.key_file)):
        if store.folder.facts(file) is not None and not _same(store, entry, key):
            raise SecretsError(
                "generate",
                name,
                reason=f"{store.folder.at(file)} is there, and no key is noted for it",
                remedy="remove it, or take it over with --from",
            )
    store.create(entry, key)


def _same(store: KeyStore, entry: KeyEntry, key: str) -> bool:
    """Return whether the files that are there hold ``key`` and nothing else."""
    keys = store.engine_keys(entry)
    own = store.folder.facts(entry.key_file)
    return keys in (None, (key,)) and (own is None or store.key(entry) == key)


def change(options: argparse.Namespace, session: Session) -> int:
    """Change what is noted about a key."""
    with _store(options, change=True) as store:
        old = store.entry(options.name)
        if store.rotation(old.name) is not None:
            raise SecretsError(
                "change",
                old.name,
                reason="its rotation has begun",
                remedy="`aiidpctl secrets rotate` ends it",
            )
        entry = with_facts(old, options)
        key, keys = store.key(old), store.engine_keys(old)
        store.write_users(entry, key)
        store.write_engine(entry, keys or (key,))
        store.put(entry)
        document = _document(store, entry)
    if session.json:
        session.document(document)
    else:
        session.report(f"{entry.name} is noted so")
    for path in old.copies:
        if path not in entry.copies:
            session.report(f"{path} is no copy any more, and still holds the key: remove it")
    return DONE


def show_list(options: argparse.Namespace, session: Session) -> int:
    """List the keys; none is shown."""
    with _store(options) as store:
        documents = [_document(store, entry) for _, entry in sorted(store.entries().items())]
    if session.json:
        session.document({"keys": documents})
        return DONE
    session.data(key_table(documents, time.time(), session.paint))
    if not documents:
        session.report("there are no keys: `aiidpctl secrets generate` makes them")
    return DONE


def show(options: argparse.Namespace, session: Session) -> int:
    """Print one key."""
    with _store(options) as store:
        key = store.key(store.entry(options.name))
    if session.json:
        session.document({"name": options.name, "key": key})
    else:
        session.data(key)
    return DONE


def check(options: argparse.Namespace, session: Session) -> int:
    """Check files, strength and servers."""
    with _store(options) as store:
        names = [store.entry(name).name for name in options.names] or sorted(store.entries())
        checks = verify(store, names, None if options.offline else query)
    documents = {name: [asdict(each) for each in found] for name, found in checks.items()}
    if session.json:
        session.document({"keys": [{"name": name, "checks": found} for name, found in documents.items()]})
    else:
        session.data(check_lines(documents, session.paint))
    if not names:
        session.report("there are no keys: `aiidpctl secrets generate` makes them")
    return DONE if all(each.good for found in checks.values() for each in found) else FAILED


def rotate(options: argparse.Namespace, session: Session) -> int:
    """Replace a key, or go on with a rotation that has begun."""
    wanted = RotationOptions(
        bits=options.bits or 0,
        back=options.back,
        confirmed=options.switched,
        with_gap=options.with_gap,
        unverified=options.unverified,
        patience=options.patience,
    )
    with _store(options, change=True) as store:
        restarts = RealRestarts(session.client, session.report, by_hand=options.restart_yourself)
        entry = store.entry(options.name)
        try:
            end = rotation_of.rotate(Means(store, restarts, session.report), entry, wanted)
        except KeyboardInterrupt:
            session.report(
                f"the rotation of {entry.name} is cut short: the same command goes on, --back goes back"
            )
            raise
        document = _document(store, store.entry(entry.name))
    if session.json:
        session.document({"outcome": end.value, "key": document})
    if end is End.DONE:
        session.report(f"{entry.name} is rotated")
    elif end is End.BACK:
        session.report(f"{entry.name} is the key that it was")
    return FAILED if end is End.CONFIRM else DONE


def show_credential(options: argparse.Namespace, session: Session) -> int:
    """Show the lines that give a key to the daemon, or write them."""
    with _store(options) as store:
        entry = store.entry(options.name)
        kind, name = ("endpoint", options.endpoint) if options.endpoint else ("server", options.server)
        try:
            text = drop_in(credential(kind, name), store.folder.at(entry.key_file))
        except ValueError as error:
            raise Refused("give key to aiidpd", entry.name, reason=str(error)) from None
    path = f"{options.drop_ins.rstrip('/')}/secrets-{entry.name}-{name}.conf"
    if options.apply:
        with KeyFolder.open(options.drop_ins, create=True, private=False) as folder:
            folder.write(path.rpartition("/")[2], text.encode(), mode=_DROP_IN_MODE)
    if session.json:
        session.document({"path": path, "text": text, "written": options.apply})
    else:
        session.data(text.splitlines())
    after = "systemctl daemon-reload && systemctl restart aiidpd"
    if options.apply:
        session.report(f"written to {path}; it takes effect with: {after}")
    else:
        session.report(f"these lines belong into {path} (--apply writes them); then: {after}")
    if not {"unit:aiidpd", "unit:aiidpd.service"} & set(entry.users):
        session.report(
            f"systemd hands a key over at a start alone: `aiidpctl secrets set {entry.name} "
            "--user unit:aiidpd.service` has rotations restart aiidpd"
        )
    return DONE


def remove(options: argparse.Namespace, session: Session) -> int:
    """Remove a key and its files."""
    with _store(options, change=True) as store:
        entry = store.entry(options.name)
        store.remove(entry)
    if session.json:
        session.document({"removed": entry.name})
    else:
        session.report(f"{entry.name} is removed; a server that has read it accepts it until it is restarted")
    return DONE


def _document(store: KeyStore, entry: KeyEntry) -> dict[str, Any]:
    """Return the document of a key: everything about it but itself."""
    facts = store.folder.facts(entry.engine_file)
    try:
        weak: tuple[str, ...] | None = weaknesses(store.key(entry))
        rotation = store.rotation(entry.name)
        phase = "" if rotation is None else str(rotation.phase)
    except SecretsError:
        weak, phase = None, "unknown"
    return {
        "name": entry.name,
        "file": store.folder.at(entry.engine_file),
        "key_file": store.folder.at(entry.key_file),
        "format": str(entry.format),
        "bits": entry.bits,
        "created_at": entry.created_at,
        "mode": "" if facts is None else f"{stat.S_IMODE(facts.st_mode):04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "url": entry.url,
        "engine": entry.engine,
        "users": list(entry.users),
        "copies": list(entry.copies),
        "weaknesses": None if weak is None else [str(each) for each in weak],
        "rotation": phase,
    }
