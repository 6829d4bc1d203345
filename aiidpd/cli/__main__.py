"""``aiidpctl`` as a process of its own: the garbage collector set for a program that ends at once."""

from __future__ import annotations

import gc
import sys

_ALLOCATIONS = 50_000  # more than a start makes; a command that follows a stream for days still collects


def run() -> int:
    """Run the command of this process and return its exit code."""
    gc.set_threshold(_ALLOCATIONS)
    from aiidpd.cli.main import main  # noqa: PLC0415 -- what it loads is what a start makes

    try:
        return main()
    finally:
        gc.freeze()  # else the interpreter, as it ends, searches for garbage in all that was loaded


if __name__ == "__main__":
    sys.exit(run())
