"""Inference engines as text for people."""

from __future__ import annotations

from collections.abc import Mapping

from aiidpd.cli.text import UNKNOWN, Paint, moment, number, plain, since

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from typing import Any


def requests(engine: Mapping[str, Any] | None) -> str:
    """Return how many requests run and wait; a probe of ours among them is marked."""
    if engine is None or engine["requests_running"] is None:
        return UNKNOWN
    waiting = f", {engine['requests_waiting']} waiting" if engine["requests_waiting"] else ""
    ours = " (ours among them)" if engine["includes_probe"] and engine["requests_running"] else ""
    return f"{engine['requests_running']} running{waiting}{ours}"


def engine_lines(document: Mapping[str, Any], now: float, paint: Paint) -> list[str]:
    """Return a line for each endpoint: what its engine reports, or why that is not known."""
    lines = []
    for each in document["endpoints"]:
        engine = each["engine"]
        if engine is None:
            continue
        if engine["reason"]:
            lines.append(paint.dim(plain(f"{each['name']}: engine not known: {engine['reason']}")))
        elif engine["read_at"] is not None:
            parts = [
                requests(engine),
                f"{number(engine['generated_tokens'])} tokens generated",
                f"{number(engine['generated_tokens_per_second'], digits=1)} tokens/s by all requests",
                since(engine["read_at"], now),
            ]
            lines.append(plain(f"{each['name']}: {engine['engine']}: {', '.join(parts)}"))
    return lines


def requests_at(known: Mapping[str, Any], began: float | None) -> list[str]:
    """Return what ran by endpoint, as an incident has it, and when that was: before ``began``, if given."""
    lines = []
    for each in known["endpoints"]:
        age = ""
        if each["read_at"] is not None:
            age = f", read {moment(each['read_at'])}"
            if began is not None:
                apart = began - each["read_at"]
                age = f", read {abs(apart):.1f} s {'before' if apart >= 0 else 'after'}"
        why = f": {each['reason']}" if each["reason"] else ""
        lines.append(plain(f"{each['name']}: {requests(each)}{age}{why}"))
    return lines
