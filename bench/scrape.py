"""A scrape of /metrics on the Unix socket under the stated load."""

from __future__ import annotations

import http.client
import socket
import time
from pathlib import Path

from bench.harness import daemon, percentile, report
from bench.workload import SIMULATED

LIMIT_P99 = 10.0
SCRAPES = 500


def scrape(path: Path) -> tuple[float, int]:
    """Return one scrape's time in milliseconds and its size in bytes, the connection included."""
    before = time.monotonic()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        link.sendall(b"GET /metrics HTTP/1.1\r\nHost: aiidpd\r\nConnection: close\r\n\r\n")
        response = http.client.HTTPResponse(link)
        response.begin()
        size = len(response.read())
    return (time.monotonic() - before) * 1000, size


def main() -> None:
    """Scrape one at a time, as Prometheus does, with a pause so that the daemon's own work goes on."""
    with daemon(SIMULATED) as subject:
        time.sleep(3)
        times = []
        for _ in range(SCRAPES):
            took, size = scrape(subject.metrics)
            times.append(took)
            time.sleep(0.01)
    print(f"{SCRAPES} scrapes of {size} bytes")
    report(
        "scrape", "ms", {"p50": (percentile(times, 0.5), None), "p99": (percentile(times, 0.99), LIMIT_P99)}
    )


if __name__ == "__main__":
    main()
