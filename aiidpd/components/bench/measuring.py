"""Process that measures and does nothing else, as ``apart.py`` starts it."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

from aiidpd.components.bench.apart import STOP
from aiidpd.kernel.errors import AiidpdError, Misconfigured

Write = Callable[..., None]


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
        if line.strip() == STOP:
            stopped.set()
    os._exit(1)
