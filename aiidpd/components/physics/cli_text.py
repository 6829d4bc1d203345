"""Estimates, capacity and claims as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Final

from aiidpd.cli.text import SIMULATED, Paint, plain, span, table
from aiidpd.components.physics.estimate import Estimate, Figure
from aiidpd.physics.hardware import Device
from aiidpd.physics.units import gb_per_second, gib

_COLUMNS: Final = 80
_INDENT: Final = "  "


def estimate_lines(
    found: Estimate, device: Device | None, bandwidth: float, notes: Sequence[str], paint: Paint
) -> list[str]:
    """Return an estimate: a table of figures, then the formula of each with its numbers, then notes."""
    name = device.name if device else "memory"
    lines = [paint.bold(plain(f"{name}: {gb_per_second(bandwidth)}"))]
    if device is not None:
        lines += _wrapped(f"by {device.source}", paint, _INDENT)
    rows = [
        (figure.label, _value(figure), figure.unit if figure.unit == "tok/s" else "")
        for figure in found.figures
    ]
    lines += table(("FIGURE", "VALUE", ""), rows, paint, right="lr")
    for figure in found.figures:
        lines += _wrapped(f"{figure.label} = {figure.formula}", paint)
        lines += _wrapped(f"= {figure.arithmetic}", paint, _INDENT)
    for note in (*notes, *found.notes):
        lines += _wrapped(f"note: {note}", paint)
    return lines


def device_lines(devices: Sequence[Device], paint: Paint) -> list[str]:
    """Return every device with its bandwidth and memory."""
    rows = [
        (each.name, gb_per_second(each.bandwidth), gib(each.memory) if each.memory else "")
        for each in devices
    ]
    return table(("DEVICE", "BANDWIDTH", "MEMORY"), rows, paint, right="lrr")


def _value(figure: Figure) -> str:
    if figure.unit == "s":
        return span(figure.value)
    if figure.unit == "B":
        return f"{figure.value / 1024:.4g} KiB"
    return f"{figure.value:.1f}" if figure.value < 1000 else f"{figure.value:.0f}"  # noqa: PLR2004 -- four figures


def capacity_lines(document: dict[str, Any], sequences: int | None, paint: Paint) -> list[str]:
    """Return the terms of the room for keys and values, and what fits there."""
    rows = [
        ("memory", gib(document["total_bytes"])),
        ("usable", gib(document["usable_bytes"])),
        ("weights", gib(document["weight_bytes"])),
        ("other", gib(document["other_bytes"])),
        ("left for keys and values", gib(document["kv_bytes"])),
        ("a token takes", f"{document['kv_bytes_per_token'] / 1024:.4g} KiB"),
        ("tokens", str(document["kv_tokens"])),
    ]
    name = document["device"] or "memory"
    lines = [paint.bold(plain(f"{name}, by the arithmetic of {document['engine']}"))]
    lines += table(("PART", "SIZE"), rows, paint, right="lr")
    if not document["fits"]:
        lines.append(paint.bad("the weights leave no room for a token"))
    else:
        fits = [(length, str(count)) for length, count in document["sequences"].items()]
        lines += table(("TOKENS OF EACH", "SEQUENCES AT ONCE"), fits, paint, right="rr")
    if sequences is not None:
        lines.append(
            f"{sequences} at once: at most {document['longest']} tokens each, prompt and answer together"
        )
    for note in document["notes"]:
        lines += _wrapped(f"note: {note}", paint)
    return lines


def claims_lines(document: dict[str, Any], paint: Paint) -> list[str]:
    """Return each claim with its verdict, arithmetic and measurements, then the slips."""
    lines: list[str] = []
    colours = {"possible": paint.good, "impossible": paint.bad}
    for claim in document["claims"]:
        source = f" ({claim['source']})" if claim["source"] else ""
        lines += [paint.bold(line) for line in _wrapped(f"{claim['text']}{source}", Paint())]
        verdict = claim["verdict"]
        said = f"{verdict} {claim['condition']}" if verdict.endswith("if") else verdict
        said += f": {claim['condition']}" if claim["condition"] and not verdict.endswith("if") else ""
        colour = colours.get(verdict, paint.warn)
        lines += [colour(line) for line in _wrapped(said, Paint(), _INDENT)]
        for line in claim["arithmetic"]:
            lines += _wrapped(line, paint, 2 * _INDENT)
        for each in claim["measured"]:
            lines += _wrapped(f"measured here: {_measured(claim, each)}", paint, _INDENT)
    if document["slips"]:
        lines.append(paint.bold("Slips"))
    for slip in document["slips"]:
        lines += _wrapped(f'"{slip["said"]}"', paint)
        lines += _wrapped(f"{slip['really']}: {slip['arithmetic']}", paint, _INDENT)
    return lines


def _measured(claim: dict[str, Any], each: dict[str, Any]) -> str:
    value = f"{each['value']:.4g} tok/s" if claim["figure"] == "decode" else span(each["value"])
    mark = f"  {SIMULATED}" if each["simulated"] else ""
    return f"{each['endpoint']} {value}, one request{mark}"


def _wrapped(text: str, paint: Paint, indent: str = "") -> Iterable[str]:
    """Return ``text`` in lines as wide as the terminal, or of 80 columns; further ones are indented."""
    width = paint.width or _COLUMNS
    return textwrap.wrap(
        plain(text), width, initial_indent=indent, subsequent_indent=indent + _INDENT, break_on_hyphens=False
    )
