"""Server that a command measures, as its options name it, and the refusal of what can't be tried."""

from __future__ import annotations

import argparse
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

from aiidpd.api.client import ControlError
from aiidpd.cli.session import USAGE, Session
from aiidpd.platform.redaction import Redactor

_KEY_LIMIT: Final = 8192


class NotUsable(ValueError):
    """A profile, address, key or model with which nothing can be measured, and what to give."""


class _Refused(ControlError):
    """A measurement that can't be tried with what was given."""

    exit_code = USAGE


def refuse(words: str) -> NoReturn:
    """End the command with ``words`` and the exit code for its usage."""
    raise _Refused(words) from None


def server(options: argparse.Namespace, session: Session) -> tuple[str, str]:
    """Return URL and model of the server that ``--target`` or ``--endpoint`` names."""
    if options.endpoint is not None:
        return _endpoint(session, options.endpoint, options.model)
    if not options.target.startswith(("http://", "https://")):
        shown = Redactor().text(options.target)
        refuse(f"cannot use {shown}: it is no http or https URL; give it as http://HOST:PORT")
    return options.target, options.model


def _endpoint(session: Session, name: str, model: str) -> tuple[str, str]:
    endpoints = session.client.get("/v1/bench/results")["endpoints"]
    found = next((each for each in endpoints if each["name"] == name), None)
    if found is None:
        known = ", ".join(each["name"] for each in endpoints) or "none"
        refuse(f"there is no endpoint {name}: known are {known}")
    if found["simulated"]:
        refuse(f"endpoint {name} is simulated: there is no server to measure")
    return found["url"], model or found["model"]


def is_local(url: str) -> bool:
    """Return whether the server at ``url`` is on this machine, as far as its name says so."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_key(path: str | None) -> str:
    """Return the key that the file at ``path`` holds, an empty one without; raises :class:`NotUsable`."""
    if path is None:
        return ""
    try:
        with Path(path).open(encoding="ascii") as file:
            key = file.read(_KEY_LIMIT).strip()
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or "it is no text").lower()
        raise NotUsable(f"cannot read {path}: {why}") from None
    if not key.isprintable():
        raise NotUsable(f"cannot use the key in {path}: a header can't hold it")
    return key


def write_file(path: str, text: str) -> None:
    """Write a report; ends the command where that can't be."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        refuse(f"cannot write {path}: {(error.strerror or 'error').lower()}")
