"""A control round trip on an open connection."""

from __future__ import annotations

import time

from aiidpd.api.client import ControlClient
from bench.harness import daemon, percentile, report
from bench.workload import SIMULATED

ROUND_TRIPS = 1000
LIMIT_P50 = 1.0


def main() -> None:
    """Measure one after the other, against one daemon."""
    with daemon(SIMULATED) as subject:
        time.sleep(2)
        client = ControlClient(str(subject.control))
        trips = []
        for _ in range(ROUND_TRIPS):
            before = time.monotonic()
            client.get("/v1/jobs")
            trips.append((time.monotonic() - before) * 1000)
    figures = {
        "round_trip_p50": (percentile(trips, 0.5), LIMIT_P50),
        "round_trip_p99": (percentile(trips, 0.99), None),
    }
    report("control", "ms", figures)


if __name__ == "__main__":
    main()
