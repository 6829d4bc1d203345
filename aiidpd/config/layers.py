"""Reading the layers: files, drop-ins, environment, credentials. Whatever can't be read is a problem."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from aiidpd.config.origin import Layer, Source
from aiidpd.config.problems import Problem
from aiidpd.config.schema import PREFIX, Key, Schema, Secret, dotted, is_list, suggest, variable
from aiidpd.config.toml import render
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform import credentials, trust
from aiidpd.platform.readfile import read_small

FILE_LIMIT = 2**20  # bytes of one file

# Variables that begin like settings and belong to the project's own tests.
_FOREIGN = frozenset(
    {
        "AIIDPD_BENCH_CACHE",
        "AIIDPD_CI_CACHE",
        "AIIDPD_LLAMA_CPP_PYTHON",
        "AIIDPD_LLAMA_SERVER",
        "AIIDPD_LOCUST",
        "AIIDPD_REQUIRE_REAL",
    }
)
_TABLE = re.compile(r"\('([^)]*?)',?\)")  # as tomllib names one
_TWICE = ("Cannot overwrite", "Cannot declare")
_AT_LINE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read_files(schema: Schema, path: Path, problems: list[Problem], *, required: bool) -> list[Layer]:
    """Return the layer of the file at ``path`` and those of its drop-ins, ``conf.d/*.toml``, by name.

    A missing file is a problem only where it is ``required``; one that others may write is one always.
    """
    paths = [path] if required or os.path.lexists(path) else []
    folder = path.parent / "conf.d"
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 -- glob would hide that a folder is unreadable
    except FileNotFoundError:
        names = []
    except OSError as error:
        problems.append(Problem(str(folder), "", f"cannot be listed: {str(error.strerror).lower()}"))
        names = []
    drop_ins = [folder / name for name in names if name.endswith(".toml") and not name.startswith(".")]
    problems += _untrusted(path, folder, drop_ins)
    paths += drop_ins
    return [layer for path in paths if (layer := _file(schema, path, problems))]


def read_environment(schema: Schema, environ: Mapping[str, str], problems: list[Problem]) -> Layer:
    """Return the layer of the variables ``AIIDPD_TABLE__KEY``. A name that is no key's is a problem."""
    data: dict[str, Any] = {}
    names: dict[Key, str] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in _FOREIGN:
            continue
        place = f"{Source.ENVIRONMENT} {name}"
        key = schema.variables.get(name)
        if key is None:
            problems.append(_unknown_variable(schema, name, place))
            continue
        field = schema.keys[key]
        value: Any = environ[name]
        if is_list(field) or field.annotation is int:
            value = _value(value)
            if is_list(field) and not isinstance(value, list):
                remedy = 'write it as in the file, such as ["one", "two"]'
                problems.append(Problem(place, dotted(key), "is not a TOML list", remedy))
                continue
        _put(data, key, value)
        names[key] = name
    return Layer(Source.ENVIRONMENT, data, names=names)


def read_credentials(
    schema: Schema,
    directory: Path | None,
    beneath: Sequence[Layer],
    problems: list[Problem],
    *,
    complete: bool,
) -> Layer:
    """Return the layer of the secrets in ``directory``, for the entries that the layers ``beneath`` name.

    Where those layers are not ``complete``, a credential without its entry is not a problem.
    """
    data: dict[str, Any] = {}
    sets: dict[Key, str] = {}
    lists: dict[Key, list[Any]] = {}
    for credential, (secret, name, value) in _secrets(schema, directory, problems).items():
        if not secret.within:
            _put(data, secret.key, value)
            sets[secret.key] = credential
            continue
        entries = lists.setdefault(secret.within, list(_entries(beneath, secret.within)))
        at = [index for index, entry in enumerate(entries) if _name(entry) == name]
        if not at and complete:
            known = ", ".join(str(_name(entry)) for entry in entries) or "none"
            reason = f"{dotted(secret.within)} has no entry {name} (there is: {known})"
            problems.append(Problem(f"{Source.CREDENTIAL} {credential}", "", reason, "correct the name"))
        for index in at:
            entries[index] = {**entries[index], str(secret.key[-1]): value}
            sets[(*secret.within, index, secret.key[-1])] = credential
            _put(data, secret.within, entries)
    return Layer(Source.CREDENTIAL, data, names=sets)


def _secrets(
    schema: Schema, directory: Path | None, problems: list[Problem]
) -> dict[str, tuple[Secret, str, SecretStr]]:
    """Return what each credential in ``directory`` is: of which key, of which entry, and its value."""
    found: dict[str, tuple[Secret, str, SecretStr]] = {}
    if directory is None:
        return found
    try:
        names = credentials.names(directory, "aiidpd.")
    except Misconfigured as error:
        problems.append(Problem(str(directory), "", f"cannot be listed: {error.reason}", error.remedy))
        return found
    for name in names:
        place = f"{Source.CREDENTIAL} {name}"
        entries = ((secret, secret.entry(name)) for secret in schema.secrets)
        match = next(((secret, entry) for secret, entry in entries if entry is not None), None)
        if match is None:
            forms = " or ".join(secret.credential for secret in schema.secrets)
            remedy = f"secrets are named {forms}; what is not secret belongs in the file"
            problems.append(Problem(place, "", "there is no such secret", remedy))
            continue
        try:
            found[name] = *match, SecretStr(credentials.read(directory, name))
        except Misconfigured as error:
            problems.append(Problem(place, "", f"cannot be read: {error.reason}", error.remedy))
    return found


def _entries(layers: Sequence[Layer], key: Key) -> Sequence[Any]:
    """Return the list at ``key`` as the last layer that has one sets it."""
    for layer in reversed(layers):
        value: Any = layer.data
        for part in key:
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            return value if isinstance(value, list) else []
    return []


def _put(data: dict[str, Any], key: Key, value: object) -> None:
    """Set ``key`` in the nested tables ``data``."""
    for part in map(str, key[:-1]):
        data = data.setdefault(part, {})
    data[str(key[-1])] = value


def _name(entry: object) -> object:
    return entry.get("name") if isinstance(entry, Mapping) else None


def _unknown_variable(schema: Schema, name: str, place: str) -> Problem:
    for old, new in schema.moved.items():
        if variable(old) == name:
            return Problem(place, "", "this setting has moved", f"set {variable(new)} instead")
    remedy = suggest(name, list(schema.variables)) or "unset it; docs/configuration.md lists the variables"
    return Problem(place, "", "there is no such setting", remedy)


def _untrusted(path: Path, folder: Path, drop_ins: Sequence[Path]) -> list[Problem]:
    """Return what others than root, this user and the owner of the file at ``path`` could change of all."""
    owners = {0, os.geteuid()}
    with suppress(OSError):  # whoever reads it says so
        owners.add(path.stat().st_uid)
    found = [trust.of_file(path)]
    if drop_ins:
        found += [trust.of_file(each, owners) for each in (folder, *drop_ins)]
    return [Problem(str(each.path), "", each.reason, each.remedy) for each in found if each is not None]


def _file(schema: Schema, path: Path, problems: list[Problem]) -> Layer | None:
    place = str(path)
    try:
        raw = read_small(path, FILE_LIMIT)
    except Misconfigured as error:
        problems.append(Problem(place, "", f"cannot be read: {error.reason}", error.remedy))
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problems.append(Problem(f"{place}:{line}", "", "is not UTF-8", "save the file as UTF-8"))
        return None
    try:
        data = tomllib.loads(text)
    except RecursionError:
        problems.append(Problem(place, "", "is nested too deeply"))
        return None
    except ValueError as error:
        problems.append(_syntax(place, text, str(error)))
        return None
    layer = Layer(Source.FILE, data, path=place, text=text)
    _drop_values_at_tables(schema, layer, data, problems)
    return layer


def _drop_values_at_tables(
    schema: Schema, layer: Layer, data: dict[str, Any], problems: list[Problem]
) -> None:
    """Take values out of ``data`` that replace a table: a later layer's table would cover them up."""
    for key in schema.sections:
        around: Any = data
        for part in key[:-1]:
            around = around.get(part) if isinstance(around, dict) else None
        last = str(key[-1])
        if not isinstance(around, dict) or last not in around or isinstance(around[last], dict):
            continue
        new = schema.moved.get(key)
        reason, remedy = "must be a table", f"write [{dotted(key)}] on a line of its own"
        if new is not None:
            reason, remedy = "this key has moved", f"it is {dotted(new)} now"
        value = None if schema.holds_secret(key) else render(around[last])
        problems.append(Problem(layer.origin(key).place, dotted(key), reason, remedy, value))
        del around[last]


def _syntax(place: str, text: str, message: str) -> Problem:
    match = _AT_LINE.search(message)
    if match is None:
        return Problem(place, "", f"is not TOML: {message}")
    line = int(match[1]) if match[1] else text.count("\n") + (not text.endswith("\n"))
    words = _TABLE.sub(lambda table: "[" + table[1].replace("', '", ".") + "]", message[: match.start()])
    column = f" at column {match[2]}" if match[2] else " at the end of the file"
    hint = "it is set above too, as a value or as a table" if words.startswith(_TWICE) else ""
    if text.startswith("\ufeff"):
        hint = "the file begins with a byte order mark; save it without"
    return Problem(f"{place}:{line}", "", f"is not TOML: {words[:1].lower()}{words[1:]}{column}", hint)


def _value(written: str) -> Any:
    """Return what ``written`` means as a TOML value, or ``written`` itself where it is none."""
    try:
        data = tomllib.loads(f"value = {written}")
    except (ValueError, RecursionError):
        return written
    return data["value"] if len(data) == 1 else written
