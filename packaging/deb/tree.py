"""Files of the package, laid out as they will lie on a machine."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from deb import elf, wheels

ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = "opt/aiidpd"
CONFFILES: Final = {"etc/aiidpd/aiidpd.toml": "etc/aiidpd.toml", "etc/aiidpd/gate.toml": "etc/gate.toml"}
"""Files of the configuration, and where each lies in the source."""

_PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
_PROGRAMS: Final = {"aiidpd": "aiidpd.__main__:main", "aiidpctl": "aiidpd.cli.__main__:run"}
_SCRIPT: Final = """\
#!/{program}/bin/python
import sys

from {module} import {function}

if __name__ == "__main__":
    sys.exit({function}())
"""
_INSTALLED: Final = {
    "usr/lib/systemd/system": ("aiidpd.service", "aiidpd-gate.service", "aiidpd-gate.socket"),
    "usr/lib/systemd/system/aiidpd.service.d": ("aiidpd.service.d/gate.conf",),
    "usr/lib/systemd/user": ("user/aiidpd-notify.service",),
}
_DIRECTORY, _FILE, _EXECUTABLE, _CONFIGURATION, _CONFIGURATION_FOLDER = 0o755, 0o644, 0o755, 0o640, 0o750


def lay_out(root: Path, chosen: Sequence[Path]) -> Path:
    """Lay everything out below ``root`` but the texts; return the folder of the libraries."""
    libraries = root / PROGRAM / "lib" / _PYTHON / "site-packages"
    libraries.mkdir(parents=True)
    for each in chosen:
        wheels.unpack(each, libraries)
    for folder in libraries.glob("*.dist-info"):
        (folder / "INSTALLER").write_text("dpkg\n")
    _environment(root / PROGRAM)
    (root / "usr/bin").mkdir(parents=True)
    for name in _PROGRAMS:
        (root / "usr/bin" / name).symlink_to(f"/{PROGRAM}/bin/{name}")
    _system(root)
    _documents(root / "usr/share/doc/aiidpd")
    return libraries


def _system(root: Path) -> None:
    """Lay out units, accounts, folders and the configuration."""
    source = ROOT / "packaging"
    for folder, names in _INSTALLED.items():
        for name in names:
            _copy(source / "systemd" / name, root / folder / Path(name).name)
    for name in ("aiidpd.conf", "aiidpd-gate.conf"):
        _copy(source / "sysusers.d" / name, root / "usr/lib/sysusers.d" / name)
    _copy(source / "tmpfiles.d/aiidpd.conf", root / "usr/lib/tmpfiles.d/aiidpd.conf")
    for target, origin in CONFFILES.items():
        _copy(ROOT / origin, root / target)
    _copy(source / "systemd/aiidpd.service.d/governor.conf", root / "usr/share/aiidpd/governor.conf")
    _copy(source / "requirements/signing.txt", root / "usr/share/aiidpd/signing.txt")


def _documents(folder: Path) -> None:
    shutil.copytree(ROOT / "docs", folder / "docs")
    for name in ("README.md", "SECURITY.md"):
        _copy(ROOT / name, folder / name)
    for name in ("acceptance", "alertmanager", "compose", "grafana", "prometheus"):
        shutil.copytree(ROOT / "etc" / name, folder / "examples" / name)
    _copy(ROOT / "etc/claims.toml", folder / "examples/claims.toml")


def _environment(folder: Path) -> None:
    """Make a virtual environment of the folder, without pip, for the system's Python of our version."""
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(f"/usr/bin/{_PYTHON}")
    for name in ("python3", _PYTHON):
        (folder / "bin" / name).symlink_to("python")
    number = _PYTHON.removeprefix("python")
    (folder / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {number}\n"
    )
    for name, entry in _PROGRAMS.items():
        module, function = entry.split(":")
        text = _SCRIPT.format(program=PROGRAM, module=module, function=function)
        (folder / "bin" / name).write_text(text)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def write_texts(root: Path, libraries: Path, at: int) -> None:
    """Have the program that was laid out write its manual pages and completions."""
    environment = {
        "PYTHONPATH": f"{ROOT / 'packaging'}:{libraries}",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": str(at),
        "COLUMNS": "80",
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath),
    }
    command = [sys.executable, "-B", "-m", "deb.texts", str(root / "usr/share")]
    subprocess.run(command, env=environment, check=True)  # noqa: S603 -- our own
    for page in sorted((root / "usr/share/man").rglob("*.[0-9]")):
        compress(page.with_name(f"{page.name}.gz"), page.read_bytes())
        page.unlink()


def compress(path: Path, data: bytes) -> None:
    """Write ``data`` as gzip does, without name and time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 9, mtime=0))


def compile_all(root: Path) -> None:
    """Compile every module for the place where it will lie; its source is not compared with it later."""
    for each in sorted((root / PROGRAM).rglob("__pycache__")):
        shutil.rmtree(each)
    command = [sys.executable, "-s", "-P", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(root), "-p", "/", str(root / PROGRAM / "lib")]
    subprocess.run(command, env={"PYTHONHASHSEED": "0"}, check=True)  # noqa: S603


def facts(libraries: Path) -> tuple[frozenset[str], tuple[int, int]]:
    """Return the libraries that those below ``libraries`` need, and the newest version of glibc."""
    named: set[str] = set()
    newest = (0, 0)
    for path in sorted(libraries.rglob("*.so*")):
        data = path.read_bytes()
        named |= elf.needed(data)
        newest = max(newest, elf.glibc(data))
    return frozenset(named), newest


def licences(libraries: Path) -> list[tuple[str, str, str]]:
    """Return name, version and licence of each library but our own."""
    found = [wheels.licence(path.read_text()) for path in sorted(libraries.glob("*.dist-info/METADATA"))]
    return sorted((each for each in found if each[0] != "aiidpd"), key=lambda each: each[0].lower())


def settle(root: Path, at: int) -> None:
    """Give every file the mode that it will have, and no time after ``at``."""
    for path in _all(root):
        if not path.is_symlink():
            path.chmod(_mode(path.relative_to(root).as_posix(), directory=path.is_dir()))
        os.utime(path, (at, at), follow_symlinks=False)


def _mode(name: str, *, directory: bool) -> int:
    if name.startswith("etc/aiidpd"):
        return _CONFIGURATION_FOLDER if directory else _CONFIGURATION
    executable = name.startswith((f"{PROGRAM}/bin/", "DEBIAN/p"))
    return _DIRECTORY if directory else _EXECUTABLE if executable else _FILE


def sizes_and_digests(root: Path) -> tuple[int, dict[str, str]]:
    """Return how many KiB the files take, and the MD5 digest of each that is no part of the configuration."""
    size, digests = 0, {}
    for path in _all(root):
        facts_of = path.lstat()
        size += max(1, -(-facts_of.st_size // 1024)) if stat.S_ISREG(facts_of.st_mode) else 1
        name = path.relative_to(root).as_posix()
        if stat.S_ISREG(facts_of.st_mode) and name not in CONFFILES:
            digests[name] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return size, digests


def _all(root: Path) -> Iterator[Path]:
    """Yield ``root`` and everything below, what is in a folder before it."""
    for folder, folders, names in os.walk(root, topdown=False):
        for name in sorted((*folders, *names)):
            yield Path(folder, name)
    yield root
