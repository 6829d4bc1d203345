"""Command lines of this project's own processes."""

from __future__ import annotations

import sys


def program(module: str) -> tuple[str, ...]:
    """Return the command line that runs ``module`` in a process of its own, by this interpreter.

    -P: no module is read from the working directory, where anybody may have put one of that name.
    """
    return (sys.executable, "-P", "-m", module)
