"""Texts of a Debian package: control file, changelog, copyright (pure)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import Final, NamedTuple

NAME: Final = "aiidpd"
SYSTEMD: Final = "252"
"""Oldest version of systemd that knows what the units say."""
_VERSION: Final = re.compile(r"[0-9][A-Za-z0-9.+~]*")
# Each library that a wheel may need, and the package that brings it.
_PACKAGES: Final = {
    "libc.so.6": "libc6",
    "libm.so.6": "libc6",
    "libdl.so.2": "libc6",
    "librt.so.1": "libc6",
    "libpthread.so.0": "libc6",
    "ld-linux-x86-64.so.2": "libc6",
    "ld-linux-aarch64.so.1": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
}
_DESCRIPTION: Final = """\
It samples the GPUs, watches the containers, backs up the model files, measures real inference, judges how
all of that is secured, and states only numbers that it measured. Prometheus scrapes it; people and
scripts control it with aiidpctl, over a Unix socket.

Docker is reached through a gate alone, a process that lets a list of calls through. Docker, GPUs and
inference engines are found by themselves, also when they are installed later; "aiidpd doctor" says what
is missing.
"""
_NO_LICENCE: Final = """\
The source of aiidpd states no licence. Without one, no permission to copy, change or distribute it is given
beyond what the law gives everybody; its authors can say more.
"""


class Package(NamedTuple):
    """One package: ``python`` is the minor version that its program runs on; ``size`` is in KiB."""

    version: str
    architecture: str
    maintainer: str
    summary: str
    python: tuple[int, int]
    libraries: frozenset[str]
    glibc: tuple[int, int]
    size: int


def version(text: str) -> str:
    """Return ``text`` if it is a version of a package without a revision. Raises ValueError."""
    if not _VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is no version of a Debian package")
    return text


def depends(package: Package) -> tuple[str, ...]:
    """Return what must be installed. Raises ValueError for a library that no known package brings."""
    unknown = sorted(package.libraries - _PACKAGES.keys())
    if unknown:
        raise ValueError(f"it is not known which package brings {', '.join(unknown)}")
    major, minor = package.python
    python = (f"python3 (>= {major}.{minor}~)", f"python3 (<< {major}.{minor + 1}~)")
    libc = f"libc6 (>= {package.glibc[0]}.{package.glibc[1]})"
    others = sorted({_PACKAGES[each] for each in package.libraries} - {"libc6"})
    return (*python, libc, *others, f"systemd (>= {SYSTEMD})")


def control(package: Package) -> str:
    """Return the file ``control``."""
    fields = {
        "Package": NAME,
        "Version": package.version,
        "Architecture": package.architecture,
        "Maintainer": package.maintainer,
        "Installed-Size": str(package.size),
        "Depends": ", ".join(depends(package)),
        "Recommends": "docker.io | docker-ce",
        "Suggests": "restic, rclone, libnotify-bin",
        "Section": "admin",
        "Priority": "optional",
        "Description": package.summary,
    }
    paragraphs = _DESCRIPTION.strip().split("\n\n")
    long = "\n .\n".join(textwrap.indent(textwrap.fill(each, 78), " ") for each in paragraphs)
    return "".join(f"{key}: {value}\n" for key, value in fields.items()) + f"{long}\n"


def changelog(text: str, package: Package, at: int) -> str:
    """Return a changelog as Debian writes them, of CHANGELOG.md's ``text``; ``at`` is in Unix seconds."""
    body = textwrap.indent(text.strip(), "  ")
    date = formatdate(at, usegmt=True).replace("GMT", "+0000")
    return (
        f"{NAME} ({package.version}) stable; urgency=medium\n\n{body}\n\n -- {package.maintainer}  {date}\n"
    )


def copyright_text(own: str, libraries: Iterable[tuple[str, str, str]]) -> str:
    """Return the file ``copyright``: ``own`` is our licence, empty where the repository states none."""
    ours = own or _NO_LICENCE
    rows = "\n".join(f"  {name} {number}: {said}" for name, number, said in libraries)
    return (
        f"aiidpd\n\n{ours.strip()}\n\n"
        "Libraries in /opt/aiidpd, each with the licence that its metadata names; the texts lie in\n"
        f"/opt/aiidpd/lib/python3*/site-packages/NAME-VERSION.dist-info:\n\n{rows}\n"
    )


def sums(digests: Mapping[str, str]) -> str:
    """Return the file ``md5sums``: the digest of each file by its path below the root."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
