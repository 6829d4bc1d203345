"""Programs of our own that a command starts: what they import would make every command slow to start."""

from __future__ import annotations

import json
import subprocess

from aiidpd.api.client import ControlError
from aiidpd.platform.programs import program

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def answer(module: str, request: Mapping[str, Any], what: str, refused: type[ControlError]) -> dict[str, Any]:
    """Return the JSON object that ``module`` makes of ``request``; ``what`` names that program for a person.

    Raises ``refused`` where its answer has an ``error``, or where it ended without one.
    """
    done = subprocess.run(  # noqa: S603 -- this interpreter, and a module of ours
        program(module), input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=False
    )
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise refused(f"the program that {what} ended with code {done.returncode}") from None
    if "error" in document:
        raise refused(document["error"])
    return document
