"""The linter compose-lint as a witness: what it finds in a compose file, by service."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


class ComposeLint:
    """Runs the program ``command``."""

    def __init__(self, command: list[str]) -> None:
        self._command = command

    def find(self, file: Path, *, suppressed: bool = False) -> dict[str, set[str]]:
        """Return the names of its rules that each service of ``file`` breaks.

        ``suppressed``: of those that a `.compose-lint.yml` beside the file excuses, in place of the others.
        """
        done = subprocess.run(
            [*self._command, "check", "--format", "json", str(file)],
            capture_output=True,
            text=True,
            check=False,
            cwd=file.parent,
        )
        found: dict[str, set[str]] = {}
        for each in json.loads(done.stdout)["findings"]:
            if bool(each.get("suppressed")) is not suppressed:
                continue
            found.setdefault(each["service"], set()).add(each["rule_id"])
        return found


def find_compose_lint(missing: Callable[[str, str], None]) -> ComposeLint:
    """Return the linter: from COMPOSE_LINT_PROGRAM, else the installed one; or say that it is missing."""
    named = os.environ.get("COMPOSE_LINT_PROGRAM") or shutil.which("compose-lint")
    if named:
        return ComposeLint([named])
    if importlib.util.find_spec("compose_lint") is None:
        missing("compose-lint", "pip install compose-lint, or set COMPOSE_LINT_PROGRAM to its path")
    return ComposeLint([sys.executable, "-m", "compose_lint"])
