"""Debian packages built of this tree, for the tests that install them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.endtoend.containers import ROOT

EARLIER = "0.0.1~test"
"""Version of a package that is older than any."""
HOW_TO_GET = "make tools, or name their Python in AIIDPD_PACKAGE_PYTHON"
AT = 1_700_000_000
"""Unix second that all files of the built packages have."""


def tools(missing: Callable[[str, str], None]) -> Path:
    """Return the Python that has what builds the package."""
    named = os.environ.get("AIIDPD_PACKAGE_PYTHON")
    found = Path(named) if named else Path(sys.prefix) / "package/bin/python"
    if not found.exists():
        missing("tools that build the package", HOW_TO_GET)
    return found


def built(python: Path, wheels: Path, output: Path, version: str = "") -> Path:
    """Build a package into ``output``, packed quickly, and return it."""
    command = [str(python), str(ROOT / "packaging/deb/build.py"), "--packed=quick"]
    command += [f"--wheels={wheels}", f"--output={output}", f"--version={version}"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(AT)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def changed(package: Path, file: str, more: str) -> None:
    """Pack ``package`` anew with ``more`` at the end of the ``file`` in it."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        subprocess.run(
            ["dpkg-deb", "--raw-extract", str(package), str(root)], check=True, capture_output=True
        )
        with (root / file.lstrip("/")).open("a") as text:
            text.write(more)
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(root), str(package)]
        subprocess.run(command, check=True, capture_output=True)
