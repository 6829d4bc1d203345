from __future__ import annotations

import re

from aiidpd.cli.text import Paint
from aiidpd.history.api import EventDocument
from aiidpd.history.cli import event_line
from tests.documents import NOW, as_dict

PLAIN = Paint()


def test_an_event_is_a_line() -> None:
    event = EventDocument(
        id=1,
        time=NOW,
        source="x",
        kind="container.died",
        subject="web",
        severity="error",
        reason="it\nfell",
        evidence={},
        simulated=True,
    )
    line = event_line(as_dict(event), PLAIN)
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  error    container\.died web: it fell  SIMULATED", line
    )
