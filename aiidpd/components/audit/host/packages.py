"""Packages of this machine, as dpkg has them, and which of the NVIDIA driver are upgraded unattended."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from aiidpd.components.audit.facts import Upgrades
from aiidpd.components.audit.host import apt_conf
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.readfile import read_small

STATUS: Final = Path("/var/lib/dpkg/status")
APT: Final = Path("/etc/apt")
TOOLKIT: Final = "nvidia-container-toolkit"
_LARGEST: Final = 64 << 20
_LARGEST_CONF: Final = 256 << 10
_MOST_FILES: Final = 100
_WANTED: Final = re.compile(
    r"(lib)?nvidia-|cuda-drivers|xserver-xorg-video-nvidia|linux-modules-nvidia|unattended-upgrades$"
)
_DRIVER: Final = re.compile(
    r"nvidia-(driver|kernel|dkms|open|headless|utils|compute|firmware|tesla|modprobe|legacy|\d)|libnvidia-(?!container)"
    r"|cuda-drivers|xserver-xorg-video-nvidia|linux-modules-nvidia|nvidia-(smi|alternative|persistenced)"
)


def installed(path: Path = STATUS) -> dict[str, tuple[str, bool]]:
    """Return version and hold of each installed package of interest. Blocks; raises :class:`Unavailable`."""
    try:
        return dict(_packages(path))
    except FileNotFoundError:
        raise Unavailable("read", str(path), reason="dpkg is not what installs packages here") from None
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise Unavailable("read", str(path), reason=why) from None


def _packages(path: Path) -> Iterator[tuple[str, tuple[str, bool]]]:
    name = version = status = ""
    read = 0
    with path.open("rb") as file:
        for raw in file:
            read += len(raw)
            if read > _LARGEST:
                return
            if raw == b"\n":
                if status.endswith(" installed") and _WANTED.match(name):
                    yield name, (version, status.startswith("hold "))
                name = version = status = ""
            elif raw.startswith((b"Package: ", b"Version: ", b"Status: ")):
                key, _, value = raw.decode(errors="replace").partition(": ")
                value = value.strip()[:200]
                if key == "Package":
                    name = value
                elif key == "Version":
                    version = value
                else:
                    status = value
    if status.endswith(" installed") and _WANTED.match(name):
        yield name, (version, status.startswith("hold "))


def upgrades(packages: Mapping[str, tuple[str, bool]], apt: Path = APT) -> Upgrades:
    """Return which packages of the driver may be replaced unattended. Blocks; raises :class:`Unavailable`."""
    if "unattended-upgrades" not in packages:
        return Upgrades()
    values = apt_conf.parse(_texts(apt))
    enabled = apt_conf.is_on(values, "APT::Periodic::Unattended-Upgrade")
    forbidden = [
        pattern
        for name in ("package-blacklist", "package-blacklist::")
        for pattern in values.get(f"unattended-upgrade::{name}", ())
    ]
    return Upgrades(
        enabled,
        tuple(
            sorted(
                name
                for name, (_, held) in packages.items()
                if _DRIVER.match(name) and not held and not any(_matches(each, name) for each in forbidden)
            )
        ),
    )


def _matches(pattern: str, name: str) -> bool:
    """Return whether ``pattern``, a regular expression that is mostly a word, begins ``name``."""
    if re.fullmatch(r"[A-Za-z0-9+.^$*\\()|?\[\]-]{1,200}", pattern) is None:
        return False
    if re.fullmatch(r"\^?[A-Za-z0-9+.-]*(\.\*|\*|\$)?", pattern):
        word = pattern.removeprefix("^")
        if word.endswith("$"):
            return name == word[:-1]
        return name.startswith(word.removesuffix(".*").removesuffix("*"))
    try:
        return re.match(pattern, name) is not None
    except re.error:
        return False


def _texts(apt: Path) -> Iterator[str]:
    paths = []
    try:
        paths = sorted((apt / "apt.conf.d").iterdir())[:_MOST_FILES]
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise Unavailable("read", str(apt / "apt.conf.d"), reason=why) from None
    for path in (*(each for each in paths if re.fullmatch(r"[\w.-]+", each.name)), apt / "apt.conf"):
        if path.name.rpartition(".")[2] in ("bak", "disabled", "dpkg-old", "dpkg-dist", "save", "orig"):
            continue
        if path.is_file():
            yield read_small(path, _LARGEST_CONF).decode(errors="replace")
