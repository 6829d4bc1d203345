"""Common part of all commands that show a reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiidpd.cli.session import DONE, FAILED, Session
from aiidpd.cli.text import SIMULATED


def show(session: Session, document: dict[str, Any], what: str, lines: Callable[[], list[str]]) -> int:
    """Write ``document`` as JSON or as ``lines``; fail, and write why, where there is no current reading."""
    if session.json:
        session.document(document)
    else:
        if document["simulated"]:
            session.report(f"{SIMULATED}: these {what} are made up")
        if document["reason"]:
            session.report(document["reason"])
        rows = lines()
        session.data(rows)
        if document["read_at"] is not None and not rows and not document["reason"]:
            session.report(f"there are no {what}")
    return FAILED if document["read_at"] is None else DONE
