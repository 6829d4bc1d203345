"""The loop of the child: a request a line in, an answer a line out."""

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
    """Return standard output for the answers alone; what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def main() -> None:
    """Answer until the input ends; ``--pcie-throughput`` asks for what slows each reading."""
    # A call that hangs never sees its input end, so the kernel is asked to end us with the daemon.
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
