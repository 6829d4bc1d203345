"""``aiidpctl status`` from a cold start, beside a bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.harness import daemon, report
from bench.workload import SIMULATED

STARTS = 40
LIMIT_MS = 150.0
LIMIT_INTERPRETERS = 3.0
AIIDPCTL = Path(sys.executable).parent / "aiidpctl"


def timed(command: list[str]) -> float:
    """Return how many milliseconds ``command`` takes as a whole process."""
    before = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return (time.monotonic() - before) * 1000


def main() -> None:
    """Measure by turns, so that a machine that drifts drifts for both."""
    cold, bare = [], []
    with daemon(SIMULATED) as subject:
        time.sleep(2)
        for _ in range(STARTS):
            cold.append(timed([str(AIIDPCTL), "--socket", str(subject.control), "status"]))
            bare.append(timed([sys.executable, "-c", "pass"]))
    status, interpreter = statistics.median(cold), statistics.median(bare)
    report("cli", "ms", {"status_cold_median": (status, LIMIT_MS), "bare_interpreter": (interpreter, None)})
    report("cli", "interpreters", {"status_cold": (status / interpreter, LIMIT_INTERPRETERS)})


if __name__ == "__main__":
    main()
