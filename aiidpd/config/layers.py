"""Reading the layers: files, drop-ins, environment, credentials. Whatever can't be read is a problem."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from aiidpd.config.keys import PREFIX, Key, dotted, holds_secret, is_list, keys, suggest, tables, variables
from aiidpd.config.origin import Layer, Source
from aiidpd.config.problems import Problem
from aiidpd.config.toml import render
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform import credentials
from aiidpd.platform.readfile import read_small

FILE_LIMIT = 2**20  # bytes of one file
CREDENTIAL = re.compile(r"aiidpd\.bench\.endpoints\.(?P<name>.+)\.api_key")

# Variables that begin like settings and belong to the project's own tests.
_FOREIGN = frozenset({"AIIDPD_CI_CACHE", "AIIDPD_LLAMA_SERVER", "AIIDPD_REQUIRE_REAL"})
_AT_LINE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read_files(path: Path, problems: list[Problem], *, required: bool) -> list[Layer]:
    """Return the layer of the file at ``path`` and those of its drop-ins, ``conf.d/*.toml``, by name.

    A missing file is a problem only where it is ``required``.
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
    paths += [folder / name for name in names if name.endswith(".toml") and not name.startswith(".")]
    return [layer for path in paths if (layer := _file(path, problems))]


def read_environment(environ: Mapping[str, str], problems: list[Problem]) -> Layer:
    """Return the layer of the variables ``AIIDPD_TABLE__KEY``. A name that is no key's is a problem."""
    data: dict[str, dict[str, Any]] = {}
    names: dict[Key, str] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in _FOREIGN:
            continue
        place = f"{Source.ENVIRONMENT} {name}"
        key = variables().get(name)
        if key is None:
            remedy = suggest(name, list(variables())) or "unset it; docs/configuration.md lists the variables"
            problems.append(Problem(place, "", "there is no such setting", remedy))
            continue
        field = keys()[key]
        value: Any = environ[name]
        if is_list(field) or field.annotation is int:
            value = _value(value)
            if is_list(field) and not isinstance(value, list):
                remedy = 'write it as in the file, such as ["one", "two"]'
                problems.append(Problem(place, dotted(key), "is not a TOML list", remedy))
                continue
        table, last = map(str, key)
        data.setdefault(table, {})[last] = value
        names[key] = name
    return Layer(Source.ENVIRONMENT, data, names=names)


def read_credentials(
    directory: Path | None, beneath: Sequence[Layer], problems: list[Problem], *, complete: bool
) -> Layer:
    """Return the layer of the secrets in ``directory``, for the endpoints that the layers ``beneath`` name.

    Where those layers are not ``complete``, a credential without its endpoint is not a problem.
    """
    found = _secrets(directory, problems) if directory else {}
    endpoints = _endpoints(beneath)
    filled = list(endpoints)
    sets: dict[Key, str] = {}
    for credential, (endpoint, secret) in found.items():
        at = [index for index, entry in enumerate(endpoints) if _name(entry) == endpoint]
        if not at and complete:
            known = ", ".join(str(_name(entry)) for entry in endpoints) or "none"
            reason = f"there is no endpoint named {endpoint} (there is: {known})"
            problems.append(Problem(f"{Source.CREDENTIAL} {credential}", "", reason, "correct the name"))
        for index in at:
            filled[index] = {**endpoints[index], "api_key": secret}
            sets[("bench", "endpoints", index, "api_key")] = credential
    data = {"bench": {"endpoints": filled}} if sets else {}
    return Layer(Source.CREDENTIAL, data, names=sets)


def _secrets(directory: Path, problems: list[Problem]) -> dict[str, tuple[str, SecretStr]]:
    found: dict[str, tuple[str, SecretStr]] = {}
    try:
        names = credentials.names(directory, "aiidpd.")
    except Misconfigured as error:
        problems.append(Problem(str(directory), "", f"cannot be listed: {error.reason}", error.remedy))
        return found
    for name in names:
        place = f"{Source.CREDENTIAL} {name}"
        match = CREDENTIAL.fullmatch(name)
        if match is None:
            remedy = (
                "secrets are named aiidpd.bench.endpoints.NAME.api_key; what is not secret stands in the file"
            )
            problems.append(Problem(place, "", "there is no such secret", remedy))
            continue
        try:
            found[name] = match["name"], SecretStr(credentials.read(directory, name))
        except Misconfigured as error:
            problems.append(Problem(place, "", f"cannot be read: {error.reason}", error.remedy))
    return found


def _endpoints(layers: Sequence[Layer]) -> list[Any]:
    for layer in reversed(layers):
        bench = layer.data.get("bench")
        if isinstance(bench, Mapping) and "endpoints" in bench:
            return bench["endpoints"] if isinstance(bench["endpoints"], list) else []
    return []


def _name(endpoint: object) -> object:
    return endpoint.get("name") if isinstance(endpoint, Mapping) else None


def _file(path: Path, problems: list[Problem]) -> Layer | None:
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
    # A later layer's table would cover this up in the merge.
    for name in tables():
        if name in data and not isinstance(data[name], dict):
            value = None if holds_secret((name,)) else render(data[name])
            where = layer.origin((name,)).place
            problems.append(
                Problem(where, name, "must be a table", f"write [{name}] on a line of its own", value)
            )
            del data[name]
    return layer


def _syntax(place: str, text: str, message: str) -> Problem:
    match = _AT_LINE.search(message)
    if match is None:
        return Problem(place, "", f"is not TOML: {message}")
    line = int(match[1]) if match[1] else text.count("\n") + (not text.endswith("\n"))
    words = message[: match.start()]
    column = f" at column {match[2]}" if match[2] else " at the end of the file"
    hint = "the file begins with a byte order mark; save it without" if text.startswith("\ufeff") else ""
    return Problem(f"{place}:{line}", "", f"is not TOML: {words[:1].lower()}{words[1:]}{column}", hint)


def _value(written: str) -> Any:
    """Return what ``written`` means as a TOML value, or ``written`` itself where it is none."""
    try:
        data = tomllib.loads(f"value = {written}")
    except (ValueError, RecursionError):
        return written
    return data["value"] if len(data) == 1 else written
