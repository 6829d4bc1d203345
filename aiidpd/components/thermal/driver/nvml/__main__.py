"""Main loop of the NVML process: reads a request a line, writes a response a line."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import BinaryIO

from aiidpd.components.thermal.driver.nvml.calls import CALLS, THROUGHPUT
from aiidpd.components.thermal.driver.nvml.reader import Reader

_PR_SET_PDEATHSIG = 1


def private_stdout() -> BinaryIO:
    """Return standard output for the responses alone; what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def main() -> None:
    """Answer requests until the input ends; ``--pcie-throughput`` adds calls that take 20 ms each."""
    # A call that hangs never sees its input end, so the kernel ends this process with the daemon.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = private_stdout()
    reader = Reader(CALLS + THROUGHPUT if "--pcie-throughput" in sys.argv else CALLS)
    calls = {"read": reader.read, "apply": reader.apply}
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer = calls[request["call"]](request)
        answers.write(json.dumps({"id": request["id"], **answer}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
