"""Rules on secrets where many can read them (pure). No finding ever has a value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.rule import Found, Level, rule
from aiidpd.contracts.inspections import Inspection
from aiidpd.platform.redaction import REDACTED, Redactor, is_secret

_USER: Final = re.compile(
    r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,31}://[^\s/@:\"']{0,256}:[^\s/@\"']{1,256}@", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"[+-]?\d[\d.,]*\s*([smhd]|ms|[kmgt]?i?b?)?", re.IGNORECASE | re.ASCII)
_VARIABLE: Final = re.compile(r"\$\{?[A-Za-z_][A-Za-z0-9_]*(:?\?[^}]*)?\}?")
_LONGEST_NAME: Final = 64  # characters of the end of a name that are of interest
_NAMED: Final = re.compile(
    r"(key|token|secret|password|passwd|passphrase|passcode|pwd|pass|credential|cookie|bearer)s?[_.\d-]*$",
    re.IGNORECASE,
)
_PUBLIC: Final = re.compile(
    r"public|gpg_?key|_key_?id|fingerprint|foreign|primary|sort_key|cache_key", re.IGNORECASE
)
_SHAPED: Final = Redactor()
_FILES: Final = (
    "give it as a file, as secrets of compose are: llama.cpp reads --api-key-file, vLLM a file of --config"
)


def _address(text: str) -> re.Match[str] | None:
    """Return the beginning of an address with a user and a password in ``text``, None where there is none."""
    return _USER.search(text) if "://" in text and "@" in text else None


def _variable(text: str) -> bool:
    """Return whether a variable of compose is in ``text``."""
    return "$" in text and _VARIABLE.search(text) is not None


def _is_variable(text: str) -> bool:
    """Return whether ``text`` is a variable of compose and nothing else."""
    return "$" in text and _VARIABLE.fullmatch(text) is not None


def _given(name: str, value: str) -> bool:
    """Return whether ``value`` is a secret that stands here: neither a number, a path nor a variable."""
    text = value.strip()
    if not text or not _NAMED.search(name[-_LONGEST_NAME:]) or _PUBLIC.search(name):
        return False
    if _NUMBER.fullmatch(text) or _is_variable(text) or text.startswith("/run/secrets/"):
        return False
    return is_secret(name, text) or name.upper().endswith("_PASS")


def _shaped(value: str) -> bool:
    """Return whether a part of ``value`` has the shape of a token, whatever it is called."""
    return REDACTED not in value and REDACTED in _SHAPED.text(f"x {value}")


@rule(
    "secret-environment",
    Level.HIGH,
    "A secret is in its environment",
    why="Whoever may inspect the container reads it, and so does each process in it; crash reports have it.",
    remedy=_FILES,
)
def secret_environment(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find variables that hold a secret by their name or shape."""
    for name, value in container.environment.items():
        if _given(name, value):
            yield Found(f"the variable {name} holds a secret, by its name", f"environment.{name}")
        elif not _address(value) and not _variable(value) and _shaped(value):
            yield Found(f"the variable {name} holds a secret, by its shape", f"environment.{name}")


@rule(
    "secret-argument",
    Level.HIGH,
    "A secret is in its command line",
    why="Every user of the host reads it, by `ps`.",
    remedy=_FILES,
)
def secret_argument(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find arguments that are secrets."""
    shown = _SHAPED.arguments(container.arguments)
    for place, (given, redacted) in enumerate(zip(container.arguments, shown, strict=True)):
        if given == redacted or REDACTED in given or _address(given):
            continue
        before = container.arguments[place - 1] if place else ""
        name, sign, value = given.partition("=")
        if sign and redacted == f"{name}={REDACTED}":
            if not _is_variable(value):
                yield Found(f"the argument {name} holds a secret", "command")
        elif before.startswith("-") and redacted == REDACTED:
            if not _is_variable(given):
                yield Found(f"the argument {before} holds a secret", "command")
        elif not _variable(given):
            yield Found(f"argument {place} holds a secret", "command")


@rule(
    "secret-label",
    Level.MEDIUM,
    "A secret is in a label",
    why="Labels are in each list of containers, in metrics and in logs.",
    remedy="take it out of the label, and change it: it has been seen",
)
def secret_label(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find labels that hold a secret by their name or shape."""
    for name, value in container.labels.items():
        if name.startswith("com.docker.compose."):
            continue
        if _given(name, value) or _shaped(value) or _address(value):
            yield Found(f"the label {name} holds a secret", "labels")


@rule(
    "secret-address",
    Level.HIGH,
    "A password is in an address",
    why="Addresses are written to logs and error messages as they are.",
    remedy="give the password as a file",
)
def secret_address(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find addresses with a user and a password in the environment and the command line."""
    for name, value in container.environment.items():
        match = _address(value)
        if match and not _variable(match[0]) and not _given(name, value):
            yield Found(f"the variable {name} has an address with a password", f"environment.{name}")
    for place, given in enumerate(container.arguments):
        match = _address(given)
        if match and not _variable(match[0]):
            yield Found(f"argument {place} has an address with a password", "command")


RULES: Final = (secret_environment, secret_argument, secret_label, secret_address)
