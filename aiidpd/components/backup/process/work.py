"""Work that a request orders, with the orders that come while it is done."""

from __future__ import annotations

import os
from threading import Thread
from typing import BinaryIO, Final

from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.progress import Progress
from aiidpd.components.backup.process.protocol import (
    Line,
    Request,
    decode_orders,
    decode_request,
    encode,
    failure_of,
)
from aiidpd.components.backup.process.serve import serve
from aiidpd.kernel.errors import AiidpdError

CANCELLED: Final = 3
"""Exit code of a process that was ordered to stop."""
ORPHANED: Final = 4
"""Exit code of a process whose daemon is gone."""


def carry_out(line: bytes, requests: BinaryIO, replies: BinaryIO) -> int:
    """Serve the request ``line``, obeying ``requests``; return the exit code of the process."""
    request = decode_request(line)

    def report(progress: Progress) -> None:
        _write(replies, Line(progress=progress))

    control = Control(report)
    Thread(target=_obey, args=(requests, control), name="orders", daemon=True).start()
    return _serve(request, control, replies)


def _serve(request: Request, control: Control, replies: BinaryIO) -> int:
    try:
        line = serve(request, control)
    except Cancelled:
        return CANCELLED
    except AiidpdError as error:
        line = Line(failure=failure_of(error))
    _write(replies, line)
    return 0


def _write(replies: BinaryIO, line: Line) -> None:
    replies.write(encode(line))
    replies.flush()


def _obey(requests: BinaryIO, control: Control) -> None:
    """Follow the orders until the input ends; then end the process, whatever it is doing."""
    for line in requests:
        orders = decode_orders(line)
        control.paused = orders.pause
        control.cancelled = orders.cancel
    os._exit(ORPHANED)
