"""Priority of the process: it takes the CPU and the disks when nobody else wants them."""

from __future__ import annotations

import contextlib
import ctypes
import os

_NICE = 19
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_WHO_PROCESS = 1
_CLASS_SHIFT = 13
_IDLE = 3


def lower() -> None:
    """Have this process, and the threads that it starts, run at the lowest priority; best effort.

    Not at SCHED_IDLE: beside an engine that computes on every core nothing would move for minutes.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, _WHO_PROCESS, 0, _IDLE << _CLASS_SHIFT)
