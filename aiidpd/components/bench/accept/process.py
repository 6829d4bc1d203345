"""Measurement as a process of its own: a plan as a JSON line in, a JSON line for each step out.

It ends when its input does: whoever started it is gone then, and a load that nobody waits for only disturbs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict
from typing import TextIO

from aiidpd.components.bench.accept.measurement import Measuring, Plan
from aiidpd.components.bench.accept.profile_text import parse_profile
from aiidpd.kernel.errors import AiidpdError, Misconfigured


def main(given: TextIO, out: TextIO) -> int:
    """Measure by the plan that ``given`` holds; return the exit code."""

    def write(**line: object) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    document = json.loads(given.readline())
    threading.Thread(target=_end_with, args=(given,), daemon=True).start()
    plan = Plan(document["url"], parse_profile(document["profile"]), document["model"], document["api_key"])
    try:
        found = Measuring(plan, lambda phase, words: write(phase=phase, words=words)).run()
    except AiidpdError as error:
        write(error=str(error), usage=isinstance(error, Misconfigured))
        return 1
    write(measurement=asdict(found))
    return 0


def _end_with(given: TextIO) -> None:
    """End the process when ``given`` ends."""
    given.read()
    os._exit(1)


if __name__ == "__main__":
    code = main(sys.stdin, sys.stdout)
    os._exit(code)  # the thread that waits for the end of its input would hold it up
