"""Build the Debian package (``make deb``): dist/aiidpd_VERSION_ARCHITECTURE.deb.

The same source, locks and time (SOURCE_DATE_EPOCH, or the last commit's) give the same bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging"))

from deb import control, tree, wheels  # noqa: E402 -- where they lie is not on the path before
from dist import build_wheel, source_date  # noqa: E402

_SCRIPTS = Path(__file__).parent / "scripts"
_LOCKS = ROOT / "packaging/requirements"
# What is quick for tests packs less.
_PACKED = {"xz": ["-Zxz", "-z6"], "quick": ["-Zgzip", "-z1"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, and print the path of the package; return 1 where that can't be."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="aiidpd-deb.") as scratch:
        try:
            print(build(options, Path(scratch)))  # noqa: T201
        except (ValueError, OSError, subprocess.CalledProcessError) as error:
            print(f"build.py: cannot build the package: {error}", file=sys.stderr)  # noqa: T201
            return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("build.py", description="Build the Debian package.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="DIR", help="default: dist")
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR", help="wheels that were fetched before; else pip fetches them"
    )
    parser.add_argument("--version", default="", help="of the package, where it is not the project's")
    parser.add_argument("--packed", choices=tuple(_PACKED), default="xz", help="quick is for tests")
    return parser


def build(options: argparse.Namespace, scratch: Path) -> Path:
    """Build in the folder ``scratch``; return the package."""
    if shutil.which("dpkg-deb") is None:
        raise ValueError("there is no dpkg-deb: apt-get install dpkg")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = control.version(options.version or project["version"])
    at = source_date()
    fetched = options.wheels
    if fetched is None:
        fetched = scratch / "wheels"
        wheels.make(fetched, [_LOCKS / "build.txt", _LOCKS / "runtime.txt"])
    locked = wheels.pins((_LOCKS / "runtime.txt").read_text())
    # Nothing may be left of the umask and the groups of whoever builds.
    os.umask(0o022)
    root = scratch / "root"
    chosen = (*wheels.chosen(fetched, locked), build_wheel(scratch / "own", at))
    libraries = tree.lay_out(root, chosen)
    tree.write_texts(root, libraries, at)
    tree.compile_all(root)
    named, glibc = tree.facts(libraries)
    minor = (sys.version_info.major, sys.version_info.minor)
    package = control.Package(
        version, _architecture(), _maintainer(), project["description"], minor, named, glibc, 0
    )
    documents = root / "usr/share/doc/aiidpd"
    changes = control.changelog((ROOT / "CHANGELOG.md").read_text(), package, at)
    tree.compress(documents / "changelog.gz", changes.encode())
    own = next((each.read_text() for each in sorted(ROOT.glob("LICEN[CS]E*"))), "")
    (documents / "copyright").write_text(control.copyright_text(own, tree.licences(libraries)))
    size, digests = tree.sizes_and_digests(root)
    _describe(root / "DEBIAN", package._replace(size=size), digests)
    tree.settle(root, at)
    options.output.mkdir(parents=True, exist_ok=True)
    target: Path = options.output / f"{control.NAME}_{version}_{package.architecture}.deb"
    _pack(root, target, options.packed, at)
    return target


def _describe(folder: Path, package: control.Package, digests: dict[str, str]) -> None:
    shutil.copytree(_SCRIPTS, folder)
    (folder / "control").write_text(control.control(package))
    (folder / "md5sums").write_text(control.sums(digests))
    (folder / "conffiles").write_text("".join(f"/{each}\n" for each in sorted(tree.CONFFILES)))


def _pack(root: Path, target: Path, packed: str, at: int) -> None:
    command = ["dpkg-deb", "--root-owner-group", *_PACKED[packed], "--build", str(root), str(target)]
    # One thread: how many there are shows in the bytes.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(at), "DPKG_DEB_THREADS_MAX": "1"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode != 0:
        raise ValueError(done.stderr.strip() or "dpkg-deb failed")


def _architecture() -> str:
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def _maintainer() -> str:
    """Return whom Debian's tools name by the environment; nobody else is known."""
    name = os.environ.get("DEBFULLNAME") or "aiidpd"
    return f"{name} <{os.environ.get('DEBEMAIL') or 'root@localhost'}>"


if __name__ == "__main__":
    sys.exit(main())
