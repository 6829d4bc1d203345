"""Measurements as text for people."""

from __future__ import annotations

from aiidpd.cli.engine_text import requests
from aiidpd.cli.text import SIMULATED, Document, Paint, number, plain, since, span, table


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
                "  ".join(filter(None, (SIMULATED if each["simulated"] else "", each["error"]))),
            )
        )
    head = ("ENDPOINT", "MODEL", "FIRST TOKEN", "PER TOKEN", "TOKENS/S", "MEASURED", "REQUESTS", "")
    if rows:
        lines += table(head, rows, paint, right="llrrrrl")
    for each in document["endpoints"]:
        for withheld in (each["sample"] or {}).get("withheld", ()):
            text = f"{each['name']}: no {withheld['figure']}: {withheld['reason']}"
            lines.append(paint.dim(plain(text)))
    return lines
