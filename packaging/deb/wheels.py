"""Wheels of what the daemon runs on: locked, found in a folder, and unpacked."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import Final

_PIN: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)
_LIBRARIES: Final = ("purelib", "platlib")
_LEFT_OUT: Final = ("scripts", "data", "headers")  # programs and files of libraries: nobody calls them here


def normal(name: str) -> str:
    """Return the name of a package as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """Return the version of each package in the text of a lock file, by its normal name."""
    return {normal(name): version for name, version in _PIN.findall(lock)}


def chosen(folder: Path, wanted: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the wheel in ``folder`` of each package that is ``wanted``.

    Raises ValueError where one is missing.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.glob("*.whl")):
        name, version, *_ = path.name.split("-")
        found[normal(name), version] = path
    missing = sorted(f"{name}=={wanted[name]}" for name in wanted if (name, wanted[name]) not in found)
    if missing:
        raise ValueError(f"{folder} has no wheel of {', '.join(missing)}")
    return tuple(found[name, wanted[name]] for name in sorted(wanted))


def make(folder: Path, locks: Sequence[Path]) -> None:
    """Have pip fetch, and build, the wheels of ``locks`` into ``folder``, each compared with its hash."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "wheel"]
    command += ["--require-hashes", "--no-build-isolation", f"--wheel-dir={folder}"]
    subprocess.run([*command, *(f"--requirement={lock}" for lock in locks)], check=True)  # noqa: S603


def unpack(wheel: Path, libraries: Path) -> None:
    """Unpack ``wheel`` into the folder ``libraries``. Raises ValueError for one that leaves it."""
    with zipfile.ZipFile(wheel) as archive:
        for each in archive.infolist():
            if each.is_dir():
                continue
            place = placed(each.filename)
            if place is None:
                continue
            target = libraries / place
            if target.exists():
                raise ValueError(f"{wheel.name}: {place} is in another wheel, too")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(each))


def placed(name: str) -> PurePosixPath | None:
    """Return where a file of a wheel goes below the libraries, None where nowhere. Raises ValueError."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{name!r} leaves the folder")
    if not path.parts[0].endswith(".data"):
        return path
    kind, rest = path.parts[1], path.parts[2:]
    if kind in _LEFT_OUT:
        return None
    if kind not in _LIBRARIES or not rest:
        raise ValueError(f"{name!r} is of a kind that is not known")
    return PurePosixPath(*rest)


def licence(metadata: str) -> tuple[str, str, str]:
    """Return name, version and licence, as the METADATA of a package says them."""
    fields = HeaderParser().parsestr(metadata)
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in fields.get_all("Classifier", [])
        if each.startswith("License :: ")
    ]
    first = (fields["License"] or "").strip().splitlines()
    said = fields["License-Expression"] or "; ".join(classifiers) or (first[0] if first else "")
    return fields["Name"], fields["Version"], said or "see its files"
