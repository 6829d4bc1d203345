"""``aiidpctl gpu energy`` and ``aiidpctl gpu export``: where energy went, and the history as CSV."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from aiidpd.cli.session import DONE, Session
from aiidpd.cli.text import SIMULATED, UNKNOWN, Document, Paint, moment, since, span, table
from aiidpd.components.thermal.cli import history
from aiidpd.history.cli import ago

_KILO = 1000.0
_COUNTED = {"engine": "the engine in the last hour", "probes": "our probe"}
_JOULES_PER_KWH = 3.6e6
_LEAST_PRICE = 0.0001


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Give the command ``gpu`` these commands, each with the ``common`` options."""
    energy = commands.add_parser(
        "energy", parents=[common], help="energy by GPU, container and token; its cost"
    )
    energy.set_defaults(run=_energy)
    export = commands.add_parser("export", parents=[common], help="write the history of one GPU")
    export.add_argument("--csv", action="store_true", help="as CSV, which is what it does anyway (RFC 4180)")
    export.add_argument("--since", type=ago, metavar="TIME", help='only the last "12h", "7d" (all there is)')
    export.add_argument("--gpu", metavar="N", help="index, UUID or its beginning; needed with several GPUs")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace, session: Session) -> int:
    query = {"gpu": options.gpu, "since": options.since}
    rows: Iterator[Any] = session.client.lines("/v1/gpus/history", **query)
    first = next(rows, None)  # what is wrong with the question comes before the head
    if not session.json:
        session.out.reconfigure(newline="")  # type: ignore[attr-defined]  # the lines bring their own ends
        session.out.write(history.head())
    count = 0
    while first is not None:
        if session.json:
            session.document(first)
        else:
            session.out.write(history.line(first))
        count += 1
        first = next(rows, None)
    session.out.flush()
    if not count:
        session.report("there is nothing in the history for this time")
    return DONE


def _energy(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/gpus/energy")
    if session.json:
        session.document(document)
    else:
        session.data(energy_lines(document, time.time(), session.paint))
        if document["reason"]:
            session.report(document["reason"])
    return DONE


def energy_lines(document: Document, now: float, paint: Paint) -> list[str]:
    """Return the account of energy as tables."""
    currency = document["currency"]
    price = f"{document['price_per_kwh']:g} {currency} per kWh"
    head = f"since {moment(document['since'])} ({since(document['since'], now)}), at {price}"
    lines = [head + (f"  {paint.warn(SIMULATED)}" if document["simulated"] else "")]
    lines += _block(_gpus(document, currency), paint)
    lines += _block(_containers(document, currency), paint)
    lines += _block(_tokens(document, currency, now), paint)
    if document["tokens"]:
        what = "all energy of the GPUs in that time is laid on these tokens: other work makes it too high"
        lines.append(paint.dim(what))
    return lines


_Rows = tuple[tuple[str, ...], str, list[tuple[str, ...]]]


def _block(rows: _Rows, paint: Paint) -> list[str]:
    head, right, cells = rows
    return ["", *table(head, cells, paint, right=right)] if cells else []


def _gpus(document: Document, currency: str) -> _Rows:
    known = {"counter": "the card's counter", "power": "power, added up", None: UNKNOWN}
    return (
        ("GPU", "NAME", "ENERGY", "ERROR", "KNOWN BY", "NOT KNOWN", "COST"),
        "rlrrlrr",
        [
            (
                str(gpu["index"]),
                gpu["name"],
                amount(gpu["joules"]),
                f"± {amount(gpu['error_joules'])}",
                known[gpu["method"]],
                span(gpu["unknown_seconds"]) if gpu["unknown_seconds"] else "",
                money(gpu["cost"], currency),
            )
            for gpu in document["gpus"]
        ],
    )


def _containers(document: Document, currency: str) -> _Rows:
    ways = {"alone": "nobody else held it", "memory": "by memory", "equal": "in equal parts"}
    return (
        ("CONTAINER", "ENERGY", "FOR CERTAIN", "SHARED", "COST"),
        "lrrlr",
        [
            (
                each["name"],
                amount(each["joules"]),
                f"{amount(each['low_joules'])} to {amount(each['high_joules'])}",
                ways[each["sharing"]],
                money(each["cost"], currency),
            )
            for each in document["containers"]
        ],
    )


def _tokens(document: Document, currency: str, now: float) -> _Rows:
    return (
        ("ENDPOINT", "A TOKEN", "BETWEEN", "A MILLION", "BETWEEN", "WITH IDLE", "COUNTED"),
        "lrrrrr",
        [
            (
                each["source"],
                f"{each['joules_per_token']:.3g} J",
                f"{each['low_joules_per_token']:.3g} to {each['high_joules_per_token']:.3g} J",
                f"{each['cost_per_million_tokens']:.3g} {currency}",
                f"{each['low_cost_per_million_tokens']:.3g} to {each['high_cost_per_million_tokens']:.3g}",
                UNKNOWN
                if each["with_idle_cost_per_million_tokens"] is None
                else f"{each['with_idle_cost_per_million_tokens']:.3g} {currency}",
                f"{each['tokens']} by {_COUNTED[each['counted_by']]}, {since(each['ended_at'], now)}"
                + (f"  {SIMULATED}" if each["simulated"] else ""),
            )
            for each in document["tokens"]
        ],
    )


def amount(joules: float) -> str:
    """Return an energy in J, kJ or kWh, with three figures."""
    if joules < _KILO:
        return f"{joules:.3g} J"
    if joules < _JOULES_PER_KWH / 10:
        return f"{joules / _KILO:.3g} kJ"
    return (
        f"{joules / _JOULES_PER_KWH:.3g} kWh"
        if joules < _JOULES_PER_KWH * _KILO
        else (f"{joules / _JOULES_PER_KWH:.0f} kWh")
    )


def money(value: float, currency: str) -> str:
    """Return a price with as many digits as it needs."""
    if 0 < value < _LEAST_PRICE:
        return f"< {_LEAST_PRICE:.4f} {currency}"
    return f"{value:.2f} {currency}" if value >= 1 or not value else f"{value:.2g} {currency}"
