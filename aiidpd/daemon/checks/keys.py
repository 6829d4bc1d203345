"""Checks of the keys that the daemon is given: by its configuration, or by its unit as credentials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, failed, ok, warning
from aiidpd.daemon.schema import SCHEMA
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform import credentials, keys

_PREFIX: Final = "aiidpd."
_SYSTEM: Final = (Path("/etc/credstore"), Path("/run/credstore"), Path("/usr/lib/credstore"))


def checks(settings: Settings, around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    return (Check("keys", lambda: _keys(settings, around)),)


def _keys(settings: Settings, around: Surroundings) -> Iterator[CheckResult]:
    found = list(_configured(settings)) + list(_credentials(around))
    yield from found
    if not found:
        yield ok("no key is configured")


def secrets_of(settings: Settings) -> dict[str, str]:
    """Return each secret of ``settings`` by its dotted key."""
    return dict(_walk(settings, ""))


def files_of(around: Surroundings) -> dict[str, Path]:
    """Return the file of each credential of ours that the unit hands over."""
    found: dict[str, Path] = {}
    for line in around.described.get("LoadCredential", ()):
        name, _, path = line.partition(":")
        if name.startswith(_PREFIX):
            places = [Path(path)] if path.startswith("/") else [each / (path or name) for each in _SYSTEM]
            found[name] = next((each for each in places if each.exists()), places[0])
    return found


def _walk(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, SecretStr):
        if value.get_secret_value():
            yield name, value.get_secret_value()
    elif isinstance(value, BaseModel):
        for key in type(value).model_fields:
            yield from _walk(getattr(value, key), f"{name}.{key}" if name else key)
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _walk(each, f"{name}.{getattr(each, 'name', place)}")


def _configured(settings: Settings) -> Iterator[CheckResult]:
    for name, key in secrets_of(settings).items():
        yield _strong(name, key, None)


def _credentials(around: Surroundings) -> Iterator[CheckResult]:
    for name, path in files_of(around).items():
        if not any(secret.entry(name) is not None for secret in SCHEMA.secrets):
            forms = " or ".join(secret.credential for secret in SCHEMA.secrets)
            yield failed(f"the credential {name} is none that aiidpd knows", f"name it {forms}")
            continue
        try:
            facts = path.stat()
        except FileNotFoundError:
            cure = "make it (aiidpctl secrets generate), or take LoadCredential= out: the unit does not start"
            yield failed(f"the file of the credential {name}, {path}, does not exist", cure)
            continue
        for fault in keys.file_faults(
            facts.st_mode, facts.st_uid, owners=(0, around.uid), links=facts.st_nlink
        ):
            cure = f"chown root {path} && chmod 600 {path}, and make the key anew where others could read it"
            yield warning(f"the file of the credential {name}, {path}: {fault.value.replace('_', ' ')}", cure)
        if not os.access(path, os.R_OK):
            cure = "call aiidpd doctor as root"
            yield warning(f"user {os.geteuid()} may not read {path}, so that its key is not judged", cure)
            continue
        try:
            yield _strong(name, credentials.read(path.parent, path.name), facts.st_mtime)
        except Misconfigured as error:
            yield failed(f"the credential {name}: {error.reason}", error.remedy)


def _strong(name: str, key: str, made_at: float | None) -> CheckResult:
    weak = keys.weaknesses(key, made_at=made_at)
    if not weak:
        return ok(f"{name} is a strong key")
    words = ", ".join(each.value.replace("_", " ") for each in weak)
    return warning(f"{name} is a weak key: {words}", "make it anew: aiidpctl secrets generate, or rotate")
