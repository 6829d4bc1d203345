"""Print what a daemon with every part simulated serves at /metrics, for promtool."""

from __future__ import annotations

import sys

from tests.metrics_page import exposition

if __name__ == "__main__":
    sys.stdout.write(exposition())
