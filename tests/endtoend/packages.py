"""Debian packages built of this tree, for the tests that install them."""

from __future__ import annotations

import os
import subprocess
import sys
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
