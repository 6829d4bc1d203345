from __future__ import annotations

from typing import Any

from aiidpd.api.document import parse
from aiidpd.cli.engine_text import engine_lines, requests
from aiidpd.cli.text import UNKNOWN, Paint
from aiidpd.components.bench.api import EngineDocument
from tests.documents import as_dict


def engine(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "engine": "vllm",
        "requests_running": 2,
        "requests_waiting": 0,
        "generated_tokens": 1500,
        "prompt_tokens": 10,
        "generated_tokens_per_second": 80.25,
        "includes_probe": False,
        "read_at": 100.0,
        "reason": "",
        "residency": "loaded",
        "may_sleep": False,
    }
    return as_dict(parse(EngineDocument, document | changes))


def test_requests_in_a_word() -> None:
    assert requests(engine()) == "2 running"
    assert requests(engine(requests_waiting=3, includes_probe=True)) == (
        "2 running, 3 waiting (ours among them)"
    )
    assert requests(engine(requests_running=0, includes_probe=True)) == "0 running"
    assert requests(engine(requests_running=None)) == UNKNOWN
    assert requests(None) == UNKNOWN


def test_a_line_an_engine_or_why_there_is_none() -> None:
    silent = engine(engine="", requests_running=None, reason="it answers 404\x1b[2J")
    document = {
        "endpoints": [
            {"name": "a", "engine": engine()},
            {"name": "b", "engine": silent},
            {"name": "c", "engine": None},
            {"name": "d", "engine": engine(read_at=None)},
        ]
    }
    told, why = engine_lines(document, 103.0, Paint())
    assert told == "a: vllm: 2 running, 1500 tokens generated, 80.2 tokens/s by all requests, 3 s ago"
    assert why.startswith("b: engine not known: it answers 404")
    assert "\x1b" not in why
