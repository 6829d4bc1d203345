"""Unit files of systemd with their drop-ins, read from the disk: also where no systemd runs."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiidpd.platform.readfile import read_small

FOLDERS: Final = (
    Path("/etc/systemd/system"),
    Path("/run/systemd/system"),
    Path("/usr/local/lib/systemd/system"),
    Path("/usr/lib/systemd/system"),
    Path("/lib/systemd/system"),
)
"""Folders of units, the strongest first."""

_LARGEST: Final = 1 << 20
_MOST: Final = 100  # drop-ins
_SECTION: Final = re.compile(r"\[([^\]]+)\]")
_SINGLE: Final = frozenset({"User", "Group", "ProtectSystem", "ProtectHome", "Type", "DevicePolicy"})


@dataclass(frozen=True, slots=True)
class UnitFile:
    """One unit: its files, the strongest last, and the settings of its section Service."""

    path: Path
    drop_ins: tuple[Path, ...] = ()
    settings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def last(self, key: str, default: str = "") -> str:
        """Return the last value of ``key``."""
        values = self.settings.get(key)
        return values[-1] if values else default

    def words(self, key: str) -> tuple[str, ...]:
        """Return all words of all values of ``key``."""
        return tuple(word for value in self.settings.get(key, ()) for word in value.split())


def read_unit(name: str, folders: Sequence[Path] = FOLDERS) -> UnitFile | None:
    """Return the unit ``name``, None where it is not installed. Raises :class:`Misconfigured`."""
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        return None
    found: dict[str, Path] = {}
    for folder in reversed(folders):  # one of the same name in a stronger folder replaces it
        found |= {each.name: each for each in sorted((folder / f"{name}.d").glob("*.conf"))[:_MOST]}
    # One that leads to /dev/null takes the weaker of its name away, and says nothing itself.
    drop_ins = tuple(found[each] for each in sorted(found) if not _masked(found[each]))
    texts = [read_small(each, _LARGEST).decode(errors="replace") for each in (path, *drop_ins)]
    return UnitFile(path, drop_ins, service_settings(texts))


def _masked(path: Path) -> bool:
    return path.is_symlink() and os.path.realpath(path) == os.devnull


def environment(values: Iterable[str]) -> dict[str, str]:
    """Return the variables that the ``values`` of Environment= set."""
    found: dict[str, str] = {}
    for value in values:
        try:
            words = shlex.split(value)
        except ValueError:
            continue  # systemd leaves out what it can't read, too
        found |= dict(word.split("=", 1) for word in words if "=" in word)
    return found


def service_settings(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the settings of the section Service in ``texts``, each of which adds to those before.

    An empty value takes back what was set before.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        section = ""
        for line in _lines(text):
            if header := _SECTION.fullmatch(line):
                section = header[1]
                continue
            key, sign, value = (part.strip() for part in line.partition("="))
            if section != "Service" or not sign or not key:
                continue
            before = () if key in _SINGLE or not value else found.get(key, ())
            found[key] = (*before, value) if value else ()
    return found


def _lines(text: str) -> Iterable[str]:
    """Yield the lines of ``text`` without remarks; one that ends in a backslash goes on with the next."""
    begun = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            begun += f"{line[:-1]} "
            continue
        if begun or line:
            yield (begun + line).strip()
        begun = ""
    if begun:
        yield begun.strip()
