"""Measurement as a process of its own: a plan as JSON in, a JSON line for each step out."""

from __future__ import annotations

import json
import sys
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

    document = json.load(given)
    plan = Plan(document["url"], parse_profile(document["profile"]), document["model"], document["api_key"])
    try:
        found = Measuring(plan, lambda phase, words: write(phase=phase, words=words)).run()
    except AiidpdError as error:
        write(error=str(error), usage=isinstance(error, Misconfigured))
        return 1
    write(measurement=asdict(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.stdin, sys.stdout))
