"""Backup process: one request on standard input, orders after it; progress and the result on standard output.

It ends when its input ends: no work goes on without the daemon.
"""

from __future__ import annotations

import gc
import os
import sys
from threading import Thread
from typing import BinaryIO, Final

from aiidpd.components.backup.process import priority
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


def main() -> int:
    """Serve the request; return the exit code: 0 also for work that failed, which the output says."""
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    gc.disable()  # there is one request, and its lists live as long as the process
    request = decode_request(requests.readline())
    priority.lower()

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


if __name__ == "__main__":
    code = main()
    os._exit(code)  # a thread waits for orders, and Python would wait for its lock
