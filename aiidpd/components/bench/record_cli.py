"""Records of what was measured, shown by ``aiidpctl bench``: a list of them, or one."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiidpd.cli.session import DONE, Session
from aiidpd.cli.text import Paint


def show(
    options: argparse.Namespace,
    session: Session,
    path: str,
    *,
    one: Callable[[Mapping[str, Any], Paint], list[str]],
    table: Callable[[Mapping[str, Any], float, Paint], list[str]],
) -> int:
    """Show the record ``options.id`` of ``path`` by ``one``, or without an id all of them by ``table``."""
    named = options.id is not None
    document = session.client.get_named(path, options.id) if named else session.client.get(path)
    for problem in () if named else document["problems"]:
        session.report(problem)
    if session.json:
        session.document(document)
    elif named:
        session.data(one(document, session.paint))
    else:
        session.data(table(document, time.time(), session.paint))
    return DONE
