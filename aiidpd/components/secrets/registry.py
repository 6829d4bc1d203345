"""Registry of keys: names, files, who accepts and who uses each; never a key (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

USUAL_BITS: Final = 256
ADMIN_BITS: Final = 384
MOST_BITS: Final = 4096
MOST_KEYS: Final = 256
MOST_PLACES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_TARGET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@_.:\\-]{0,199}", re.ASCII)
_LARGEST_ID: Final = 2**32 - 2
_KEY_FILE: Final = ".key"

HAND: Final = "hand"
"""User of a key whom a person provides with a new one."""
NOBODY: Final = "nobody"
"""In the place of a user where nothing sends the key yet."""
DAEMON: Final = "daemon"
"""Our own daemon, which reads its credentials again on a reload."""
CONTAINER: Final = "container"
UNIT: Final = "unit"


class Format(StrEnum):
    """Forms in which a server reads its keys."""

    PLAIN = "plain"
    """One key, alone in its file."""
    LLAMACPP = "llamacpp"
    """A key a line, for ``llama-server --api-key-file``."""
    VLLM = "vllm"
    """YAML for ``vllm serve --config``, which has the option ``api-key`` and nothing else."""


_SUFFIXES: Final = {Format.PLAIN: _KEY_FILE, Format.LLAMACPP: ".keys", Format.VLLM: ".yaml"}
USUAL_FORMATS: Final = {"VLLM_API_KEY": Format.VLLM, "LLAMACPP_API_KEY": Format.LLAMACPP}
USUAL_NAMES: Final = ("VLLM_API_KEY", "LLAMACPP_API_KEY", "ADMIN_KEY")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key: everything about it but itself."""

    name: str
    format: Format
    bits: int
    """Random bits that it was made of; 0 for one that was brought."""
    created_at: float
    """Unix seconds."""
    uid: int
    """Owner of the file that the server reads."""
    gid: int
    url: str = ""
    """Address of the server that accepts it; empty where none is known."""
    engine: str = ""
    """``container:NAME`` or ``unit:NAME`` of that server; empty where a person restarts it."""
    users: tuple[str, ...] = ()
    """Those who send it: ``daemon``, ``container:NAME``, ``unit:NAME``, ``hand`` or ``nobody``."""
    copies: tuple[str, ...] = ()
    """Paths at which a copy of the key lies."""

    @property
    def key_file(self) -> str:
        """Name of the file that holds the key alone, for those who send it."""
        return self.name + _KEY_FILE

    @property
    def engine_file(self) -> str:
        """Name of the file that the server reads."""
        return self.name + _SUFFIXES[self.format]

    @property
    def overlaps(self) -> bool:
        """True where the server can accept two keys at once."""
        return self.format is not Format.PLAIN

    @property
    def callers(self) -> tuple[str, ...]:
        """Users, or a person where none are named."""
        return tuple(each for each in self.users or (HAND,) if each != NOBODY)

    def problem(self) -> str:
        """Return why this can't be an entry, empty where it can."""
        checks = (
            (name_problem(self.name), "name"),
            ("" if 0 <= self.bits <= MOST_BITS else f"{self.bits} is no number of bits", "bits"),
            ("" if 0 <= self.uid <= _LARGEST_ID and 0 <= self.gid <= _LARGEST_ID else "no such id", "owner"),
            (url_problem(self.url) if self.url else "", "url"),
            (target_problem(self.engine) if self.engine else "", "engine"),
            *((target_problem(each, user=True), "user") for each in self.users),
            *((path_problem(each), "copy") for each in self.copies),
            ("" if len(self.users) <= MOST_PLACES else f"more than {MOST_PLACES}", "users"),
            ("" if len(self.copies) <= MOST_PLACES else f"more than {MOST_PLACES}", "copies"),
        )
        return next((f"its {what}: {problem}" for problem, what in checks if problem), "")


@dataclass(frozen=True, slots=True)
class Registry:
    """All keys of one folder."""

    version: Literal[1]
    keys: tuple[KeyEntry, ...] = ()

    def validate(self) -> None:
        """Raise ValueError where it can't be a registry."""
        names = [each.name.lower() for each in self.keys]
        if len(set(names)) < len(names):
            raise ValueError("a name is there twice")
        if len(names) > MOST_KEYS:
            raise ValueError(f"{len(names)} keys, more than {MOST_KEYS}")
        for each in self.keys:
            if problem := each.problem():
                raise ValueError(problem)


def usual_bits(name: str) -> int:
    """Return how many random bits a key of this name gets."""
    return ADMIN_BITS if "ADMIN" in name.upper() else USUAL_BITS


def usual_format(name: str) -> Format:
    """Return the form in which a key of this name is written."""
    return USUAL_FORMATS.get(name, Format.PLAIN)


def name_problem(name: str) -> str:
    """Return why ``name`` can't be the name of a key, empty where it can."""
    if _NAME.fullmatch(name):
        return ""
    return f"{name[:40]!r} is no name: a letter, then letters, digits, _ and -, 64 at most"


def target_problem(text: str, *, user: bool = False) -> str:
    """Return why ``text`` names nothing that could be restarted, or no ``user``; empty where it does."""
    if user and text in (HAND, DAEMON, NOBODY):
        return ""
    kind, colon, name = text.partition(":")
    if colon and kind in (CONTAINER, UNIT) and _TARGET.fullmatch(name):
        return ""
    more = ", daemon, hand, nobody" if user else ""
    return f"{text[:40]!r} is none of container:NAME, unit:NAME{more}"


def path_problem(path: str) -> str:
    """Return why ``path`` can't be the path of a copy, empty where it can."""
    if path.startswith("/") and path.isprintable() and ".." not in path.split("/") and len(path) <= 1000:  # noqa: PLR2004
        return ""
    return f"{path[:60]!r} is no absolute path without .."


def url_problem(url: str) -> str:
    """Return why keys can't be sent to ``url``, empty where they can: in the clear to this machine alone."""
    shown = repr(url[:60])
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return f"{shown} is no URL"
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable():
        return f"{shown} is no URL of a server: write it as http://127.0.0.1:8000"
    if parts.username is not None or parts.query or parts.fragment or " " in url:
        return f"{shown}: a user, a query or a fragment has no place in it"
    if parts.scheme == "http" and not _loopback(host):
        return f"{shown} would send keys over the network in the clear: give a loopback address, or https"
    return ""


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
