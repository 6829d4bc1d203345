"""Measurement of an acceptance as a process of its own (``bench/apart.py`` starts it)."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict
from typing import Any

from aiidpd.components.bench.accept.measurement import Measuring, Plan
from aiidpd.components.bench.accept.profile_text import parse_profile
from aiidpd.components.bench.measuring import Write, measuring


def _measure(document: dict[str, Any], write: Write, _stopped: threading.Event) -> dict[str, Any]:
    plan = Plan(document["url"], parse_profile(document["profile"]), document["model"], document["api_key"])
    return asdict(Measuring(plan, lambda phase, words: write(phase=phase, words=words)).run())


if __name__ == "__main__":
    code = measuring(_measure)
    os._exit(code)  # the thread that waits for the end of its input would hold it up
