"""Start to READY=1, beside what the interpreter and the named libraries take by themselves."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.harness import daemon, report
from bench.workload import SIMULATED

LIMIT_SECONDS = 0.7
LIMIT_LIBRARIES = 1.2  # of what the libraries' imports alone take
ROUNDS = 10
LIBRARIES = (
    "import aiodocker, aiohttp.web, anyio, httpx, prometheus_client, pydantic_settings, sdnotify, structlog"
)


def main() -> None:
    """Measure interleaved, so that a machine that drifts drifts for both."""
    ready, libraries = [], []
    for _ in range(ROUNDS):
        with daemon(SIMULATED) as subject:
            ready.append(subject.ready_seconds)
        before = time.monotonic()
        subprocess.run([sys.executable, "-c", LIBRARIES], check=True)
        libraries.append(time.monotonic() - before)
    ratio = statistics.median(one / alone for one, alone in zip(ready, libraries, strict=True))
    figures = {
        "ready_median": (statistics.median(ready), LIMIT_SECONDS),
        "ready_max": (max(ready), LIMIT_SECONDS),
        "libraries_alone_median": (statistics.median(libraries), None),
    }
    report("start", "s", figures)
    report("start", "of the libraries' imports", {"ready_ratio_median": (ratio, LIMIT_LIBRARIES)})


if __name__ == "__main__":
    main()
