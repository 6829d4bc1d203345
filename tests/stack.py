"""The shipped stack of inference servers, as its tests read it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ETC = Path(__file__).resolve().parents[1] / "etc"
STACK = ETC / "compose" / "docker-compose.production.yml"
SECRETS = "/etc/aiidpd/secrets/"
_SERVICE = re.compile(r"^  ([a-z0-9-]+):$", re.MULTILINE)
_COMMAND = re.compile(r"^ *#   \$ aiidpctl (.*(?:\n *#     .*)*)", re.MULTILINE)


def stack() -> dict[str, Any]:
    """Return what the file declares, anchors expanded."""
    found = yaml.safe_load(STACK.read_text())
    assert isinstance(found, dict)
    return found


def services() -> dict[str, dict[str, Any]]:
    """Return its services by name."""
    return dict(stack()["services"])


def remarks(service: str) -> str:
    """Return the part of the file that declares ``service``, with its remarks."""
    text = STACK.read_text()
    places = [(each[1], each.start()) for each in _SERVICE.finditer(text)]
    for (name, begin), (_, end) in zip(places, [*places[1:], ("", len(text))], strict=True):
        if name == service:
            return text[begin:end]
    raise LookupError(service)


def shown_commands(service: str) -> list[list[str]]:
    """Return the words of each aiidpctl command that the remarks of ``service`` show."""
    shown = _COMMAND.findall(remarks(service))
    return [shlex.split(re.sub(r"\n *#", " ", each)) for each in shown]


def options(words: list[str]) -> dict[str, str]:
    """Return the options of a command line, each written ``--name=value`` or ``--name value``."""
    found: dict[str, str] = {}
    for place, word in enumerate(words):
        if word.startswith("--"):
            name, sign, value = word.partition("=")
            following = words[place + 1] if place + 1 < len(words) else ""
            found[name] = value if sign else "" if following.startswith("--") else following
    return found


def gib(text: str) -> float:
    """Return the GiB of a limit such as ``24g`` or ``256m``, or of ``2.59GiB``."""
    match = re.fullmatch(r"([\d.]+)(g|m|GiB)", text)
    assert match is not None, text
    return float(match[1]) / (1024 if match[2] == "m" else 1)
