"""Resident memory (PSS) and CPU share of all processes under the stated load."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from bench.harness import cpu_seconds, daemon, processes, pss_bytes, report
from bench.workload import NVML, fake_nvml

MEBIBYTE = 1 << 20
MEMORY_LIMIT = 66.0
CPU_LIMIT = 0.5
WARM_UP = 10.0
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0


def main() -> None:
    """Run the daemon on the fake NVML library: the child process and every call are real."""
    with tempfile.TemporaryDirectory() as folder, daemon(NVML, fake_nvml(Path(folder)).env) as subject:
        time.sleep(WARM_UP)
        pids = processes(subject.pid)
        before, began = cpu_seconds(pids), time.monotonic()
        time.sleep(SECONDS)
        used, took = cpu_seconds(pids) - before, time.monotonic() - began
        memory = [pss_bytes(pid) / MEBIBYTE for pid in pids]
    report("footprint", "MiB", {"pss_all": (sum(memory), MEMORY_LIMIT), "pss_daemon": (memory[0], None)})
    report("footprint", "% of a core", {"cpu_share": (100 * used / took, CPU_LIMIT)})


if __name__ == "__main__":
    main()
