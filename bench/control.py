"""A control round trip, and ``aiidpctl status`` from a cold start beside a bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from aiidpd.api.client import ControlClient
from bench.harness import daemon, percentile, report
from bench.workload import SIMULATED

ROUND_TRIPS = 1000
STARTS = 20
LIMIT_P50 = 1.0
LIMIT_COLD = 150.0
AIIDPCTL = Path(sys.executable).parent / "aiidpctl"


def timed(command: list[str]) -> float:
    """Return how many milliseconds ``command`` takes as a whole process."""
    before = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return (time.monotonic() - before) * 1000


def main() -> None:
    """Measure both against one daemon."""
    with daemon(SIMULATED) as subject:
        time.sleep(2)
        client = ControlClient(str(subject.control))
        trips = []
        for _ in range(ROUND_TRIPS):
            before = time.monotonic()
            client.get("/v1/jobs")
            trips.append((time.monotonic() - before) * 1000)
        cold, bare = [], []
        for _ in range(STARTS):
            cold.append(timed([str(AIIDPCTL), "--socket", str(subject.control), "status"]))
            bare.append(timed([sys.executable, "-c", "pass"]))
    figures = {
        "round_trip_p50": (percentile(trips, 0.5), LIMIT_P50),
        "round_trip_p99": (percentile(trips, 0.99), None),
        "status_cold_median": (statistics.median(cold), LIMIT_COLD),
        "bare_interpreter_median": (statistics.median(bare), None),
    }
    report("control", "ms", figures)


if __name__ == "__main__":
    main()
