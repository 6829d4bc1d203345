"""Backup process: one request on standard input, orders after it; progress and the result on standard output.

It ends when its input ends: no work goes on without the daemon.
"""

from __future__ import annotations

import gc
import os
import sys
from io import FileIO

from aiidpd.components.backup.process import priority, shortcut


def main() -> int:
    """Serve the request; return the exit code: 0 also for work that failed, which the output says."""
    gc.disable()  # there is one request, and its lists live as long as the process
    requests = FileIO(sys.stdin.fileno(), closefd=False)  # it reads no order together with the request
    line = requests.readline()
    priority.lower()
    if shortcut.reply(line, requests.fileno(), sys.stdout.buffer):
        return 0
    from aiidpd.components.backup.process import work  # noqa: PLC0415 -- loading it takes longest

    return work.carry_out(line, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    code = main()
    os._exit(code)  # a thread waits for orders, and Python would wait for its lock
