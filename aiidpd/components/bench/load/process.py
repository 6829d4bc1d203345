"""Measurement of a load as a process of its own (``bench/apart.py`` starts it)."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict
from typing import Any

from aiidpd.components.bench.load.measurement import Loading
from aiidpd.components.bench.load.plan import Plan
from aiidpd.components.bench.measuring import Write, measuring


def _measure(document: dict[str, Any], write: Write, stopped: threading.Event) -> dict[str, Any]:
    plan = Plan(**{**document, "depths": tuple(document["depths"])})
    found = Loading(plan, write, stopped).run()
    result = asdict(found)
    for level, each in zip(result["levels"], found.levels, strict=True):
        level["invalid"] = each.invalid
        level["figures"]["answered_share"] = each.figures.answered_share
    return result


if __name__ == "__main__":
    code = measuring(_measure)
    os._exit(code)  # the thread that waits for the end of its input would hold it up
