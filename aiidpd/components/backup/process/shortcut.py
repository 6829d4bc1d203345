"""Reply to a run that finds nothing changed, before the rest of the process is loaded: that takes longest.

It imports little, as :mod:`.listing` does. Its lines are those of :mod:`.protocol`.
"""

from __future__ import annotations

import json
import select
from collections.abc import Mapping
from time import monotonic

from aiidpd.components.backup.process.unchanged import GivenUp, answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_KINDS = ("run", "verify", "summary", "catalog", "restore", "drill", "prune", "pin")
_NO_LINE: Mapping[str, object] = dict.fromkeys(("progress", "failure", *_KINDS))
_LISTING = {
    "phase": "listing",
    "files_done": 0,
    "files": 0,
    "bytes_done": 0,
    "bytes": 0,
    "at": "",
    "paused": "",
}
_REPORT_EVERY = 0.2  # seconds


def reply(line: bytes, orders: int, replies: BinaryIO) -> bool:
    """Answer the request ``line`` if that is quickly done; return False where it still has to be served.

    That is so too once anything comes from the descriptor ``orders``, or it ends.
    """
    try:
        request = json.loads(line)
        is_run = request["kind"] == "run"
    except (ValueError, KeyError, TypeError, RecursionError):
        return False  # whoever decodes it says what is wrong
    if not is_run:
        return False
    waiting = select.poll()
    waiting.register(orders, select.POLLIN)
    reported = 0.0

    def step() -> None:
        nonlocal reported
        if waiting.poll(0):
            raise GivenUp
        now = monotonic()
        if now - reported >= _REPORT_EVERY:
            reported = now
            _write(replies, {"progress": _LISTING})

    found = answer(request, step)
    if found is None:
        return False
    _write(replies, {"run": found})
    return True


def _write(replies: BinaryIO, line: Mapping[str, object]) -> None:
    replies.write(json.dumps({**_NO_LINE, **line}).encode("ascii") + b"\n")
    replies.flush()
