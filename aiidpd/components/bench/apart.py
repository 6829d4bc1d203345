"""Measurements in a process of their own: a plan as a JSON line in, a JSON line for each step out.

The process ends when its input does: whoever started it is gone then, and a load that nobody waits for only
disturbs. A line ``stop`` asks it to end by itself, with what it has.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from aiidpd.kernel.errors import AiidpdError, Misconfigured

_STOP = "stop"

Write = Callable[..., None]


class Child:
    """Process that measures, for the one that started it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what it writes, until it ends."""
        for text in self._process.stdout or ():
            yield json.loads(text)

    def stop(self) -> None:
        """Ask it to end with what it has."""
        self._send(_STOP)

    def _send(self, line: str) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # its end says why
                self._process.stdin.write(f"{line}\n")
                self._process.stdin.flush()

    @property
    def ended(self) -> str:
        """Return how it ended, where it did so without a result."""
        return f"the process that measures ended with code {self._process.wait()}"


@contextmanager
def child(module: str, plan: Mapping[str, Any]) -> Iterator[Child]:
    """Start ``module`` with ``plan``, and end it with the block.

    It is no part of the terminal's group: an interruption is for this process, which asks it to stop.
    """
    with subprocess.Popen(  # noqa: S603 -- this interpreter, and a module of ours
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            found = Child(process)
            found._send(json.dumps(plan))  # noqa: SLF001 -- its maker
            yield found
        finally:
            process.kill()


def measuring(
    measure: Callable[[dict[str, Any], Write, threading.Event], dict[str, Any]],
    given: TextIO = sys.stdin,
    out: TextIO = sys.stdout,
) -> int:
    """Be the process: measure by the plan that ``given`` holds, write its result, and return the exit code.

    ``measure`` gets the plan, a function that writes a line, and an event that is set where it is to stop.
    """

    def write(**line: object) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    plan = json.loads(given.readline())
    stopped = threading.Event()
    threading.Thread(target=_follow, args=(given, stopped), daemon=True).start()
    try:
        found = measure(plan, write, stopped)
    except AiidpdError as error:
        write(error=str(error), usage=isinstance(error, Misconfigured))
        return 1
    write(measurement=found)
    return 0


def _follow(given: TextIO, stopped: threading.Event) -> None:
    """Note a request to stop, and end the process when ``given`` ends."""
    for line in given:
        if line.strip() == _STOP:
            stopped.set()
    os._exit(1)
