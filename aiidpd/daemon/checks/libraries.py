"""Checks of the program itself: Python, and the libraries that it was installed with."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from aiidpd import __version__
from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, failed, ok

_LEAST: Final = (3, 11)
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*\(?([^;)]*)\)?\s*(;.*)?")
_CLAUSE: Final = re.compile(r"(>=|<|==)\s*([0-9][0-9.]*)")


def checks(_settings: Settings, _around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    return (Check("program", _program),)


def _program() -> Iterator[CheckResult]:
    version = platform.python_version()
    if sys.version_info[:2] < _LEAST:
        yield failed(f"Python {version} is too old", "install aiidpd with Python 3.11 or newer")
    wrong = list(_wrong())
    cure = (
        "install the package again; in a checkout, "
        "pip install --require-hashes -r packaging/requirements/runtime.txt"
    )
    yield from (failed(each, cure) for each in wrong)
    if not wrong:
        yield ok(
            f"aiidpd {__version__} with Python {version} in {sys.prefix}; its libraries are those it needs"
        )


def versions() -> dict[str, str]:
    """Return the version of each library that aiidpd needs; empty for one that is not installed."""
    return {name: _installed(name) for name, _ in _requirements()}


def _wrong() -> Iterator[str]:
    for name, clauses in _requirements():
        found = _installed(name)
        if not found:
            yield f"the library {name} is not installed"
        elif not all(_holds(found, sign, bound) for sign, bound in _CLAUSE.findall(clauses)):
            yield f"the library {name} is {found}, and {clauses.strip()} is needed"


def _requirements() -> Iterator[tuple[str, str]]:
    try:
        lines = metadata.requires("aiidpd") or []
    except metadata.PackageNotFoundError:
        lines = []  # run from a checkout that nobody installed
    for line in lines:
        match = _REQUIREMENT.fullmatch(line.strip())
        if match is not None and "extra" not in (match[3] or ""):
            yield match[1], match[2]


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _holds(version: str, sign: str, bound: str) -> bool:
    have, want = _numbers(version), _numbers(bound)
    if sign == ">=":
        return have >= want
    return have < want if sign == "<" else have[: len(want)] == want


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+", maxsplit=1)[0]))
