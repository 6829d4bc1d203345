"""Measurements as text for people."""

from __future__ import annotations

from collections.abc import Iterator

from aiidpd.cli.engine_text import requests
from aiidpd.cli.text import SIMULATED, Document, Paint, number, plain, since, span, table

_DISTURBED = {
    "sleeping": "wakes its model",
    "unloaded": "loads its model, if need be in the place of another",
    "loading": "waits for its model, which is being loaded",
}


def wakes(endpoint: Document) -> str:
    """Return what a measurement of ``endpoint`` does to its model, empty where nothing is done to it."""
    engine = endpoint["engine"]
    if engine is None:
        return ""
    if engine["residency"] in _DISTURBED:
        return _DISTURBED[engine["residency"]]
    return "keeps its model awake" if engine["may_sleep"] else ""


def _not_counted(endpoint: Document) -> str:
    if endpoint["left_out"]:
        return f"left out: {endpoint['left_out']}"
    return f"not counted: {endpoint['dropped']}" if endpoint["dropped"] else ""


def _remarks(sample: Document) -> Iterator[str]:
    """Yield what was not as usual during a measurement."""
    if sample.get("throttled"):
        yield f"throttled: {sample['throttled']}"


def bench_table(document: Document, now: float, paint: Paint) -> list[str]:
    """Return the table of endpoints; the figures are those of the last measurement that succeeded."""
    lines: list[str] = []
    rows = []
    for each in document["endpoints"]:
        sample = each["sample"] or {}
        rows.append(
            (
                each["name"],
                each["model"],
                span(sample.get("ttft_seconds")),
                span(sample.get("time_per_output_token_seconds")),
                number(sample.get("output_tokens_per_second"), digits=1),
                since(each["measured_at"], now),
                requests(each["engine"]),
                "  ".join(
                    filter(
                        None, (SIMULATED if each["simulated"] else "", each["error"] or _not_counted(each))
                    )
                ),
            )
        )
    head = ("ENDPOINT", "MODEL", "FIRST TOKEN", "PER TOKEN", "TOKENS/S", "MEASURED", "REQUESTS", "")
    if rows:
        lines += table(head, rows, paint, right="llrrrrl")
    for each in document["endpoints"]:
        for text in _remarks(each["sample"] or {}):
            lines.append(paint.warn(plain(f"{each['name']}: {text}")))
        for withheld in (each["sample"] or {}).get("withheld", ()):
            text = f"{each['name']}: no {withheld['figure']}: {withheld['reason']}"
            lines.append(paint.dim(plain(text)))
    return lines
