from __future__ import annotations

from aiidpd.alerts.cli import alert_lines
from aiidpd.cli.text import Paint
from tests.documents import NOW

PLAIN = Paint()


def test_alerts() -> None:
    alert = {
        "name": "GpuLost",
        "stage": "firing",
        "severity": "error",
        "summary": "GPU 0 can't\nbe read",
        "remedy": "look",
        "runbook": "aiidpctl runbook GpuLost",
        "since": NOW - 90,
        "known_at": NOW - 10,
        "condition": "holds",
        "simulated": False,
        "restored": False,
    }
    unsure = alert | {"stage": "pending", "severity": "warning", "condition": "unknown", "simulated": True}
    kept = alert | {"restored": True}
    assert "(from before the restart)" in alert_lines([kept], NOW, PLAIN)[0]
    assert alert_lines([alert, unsure], NOW, PLAIN) == [
        "error    firing   GpuLost: GPU 0 can't be read (for 1.5 min)",
        "                  look; aiidpctl runbook GpuLost",
        "warning  pending  GpuLost: GPU 0 can't be read (for 1.5 min) (last known 10 s ago) SIMULATED",
        "                  look; aiidpctl runbook GpuLost",
    ]
