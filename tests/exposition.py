"""Print what a daemon with every part simulated serves at /metrics, for promtool."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.daemon import running

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch)) as daemon:
        text = daemon.wait_for(
            "aiidpd_gpu_temperature_celsius",
            "aiidpd_container_state",
            "aiidpd_backup_last_success_timestamp_seconds",
            "aiidpd_bench_output_tokens_per_second",
        )
    sys.stdout.write(text)
