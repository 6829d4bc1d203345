"""``aiidpctl bench compare`` and ``comparisons``."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Mapping
from typing import Any

from aiidpd.cli import job
from aiidpd.cli.session import DONE, USAGE, Session
from aiidpd.components.bench import record_cli
from aiidpd.components.bench.compare.cli_text import comparison_lines, comparison_table

_PATH = "/v1/bench/comparisons"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to ``commands``, each with the ``common`` options."""
    compare = commands.add_parser(
        "compare",
        parents=[common],
        help="compare two endpoints, or two periods of one, and say how sure it is",
    )
    compare.add_argument("a", metavar="A", help="endpoint; with --days a day, or a period DAY..DAY")
    compare.add_argument("b", metavar="B", help="the other one")
    compare.add_argument("--pairs", type=int, default=None, metavar="N", help="at most so many (20)")
    compare.add_argument("--minutes", type=float, default=None, metavar="N", help="at most so long (30)")
    compare.add_argument("--seed", type=int, default=None, metavar="N", help="seed of the order")
    compare.add_argument("--days", metavar="ENDPOINT", help="compare two periods of this one by the history")
    job.add_no_wait(compare)
    compare.set_defaults(run=_compare)
    listed = commands.add_parser(
        "comparisons", parents=[common], help="list the comparisons, show one, cancel the one that runs"
    )
    listed.add_argument("id", nargs="?", metavar="ID", help="show this one")
    listed.add_argument("--cancel", action="store_true", help="cancel the one that runs")
    listed.set_defaults(run=_comparisons)


def result(session: Session, ended: Mapping[str, Any]) -> list[str]:
    """Return what the comparison that ``ended`` found, nothing where it has no result."""
    if "comparison" not in ended["result"]:
        return []
    document = session.client.get(f"{_PATH}/{ended['result']['comparison']}")
    return comparison_lines(document, session.paint)


def _compare(options: argparse.Namespace, session: Session) -> int:
    if options.days is not None:
        return _periods(options, session)
    names = ("pairs", "minutes", "seed")
    more = {name: found for name in names if (found := getattr(options, name)) is not None}
    body = {"a": options.a, "b": options.b, **more}
    return job.start(session, _PATH, body, result, wait=not options.no_wait)


def _periods(options: argparse.Namespace, session: Session) -> int:
    query: dict[str, Any] = {"endpoint": options.days}
    for side in ("a", "b"):
        found = period(getattr(options, side))
        if found is None:
            session.report(
                f"{getattr(options, side)!r} is no day, as 2026-11-28 is, and no 2026-11-22..2026-11-28"
            )
            return USAGE
        query[f"{side}_since"], query[f"{side}_until"] = found
    document = session.client.get("/v1/bench/periods", **query)
    if session.json:
        session.document(document)
    else:
        session.data(comparison_lines(document, session.paint))
    return DONE


def period(text: str) -> tuple[float, float] | None:
    """Return begin and end of ``DAY`` or ``DAY..DAY`` (both included), local time; None for others."""
    first, dots, last = text.partition("..")
    days = (first, last if dots else first)
    if not all(map(_DAY.fullmatch, days)):
        return None
    try:
        return _midnight(first, 0), _midnight(days[1], 1)
    except (ValueError, OverflowError):
        return None


def _midnight(day: str, later: int) -> float:
    parsed = time.strptime(day, "%Y-%m-%d")
    return time.mktime((parsed.tm_year, parsed.tm_mon, parsed.tm_mday + later, 0, 0, 0, 0, 0, -1))


def _comparisons(options: argparse.Namespace, session: Session) -> int:
    if options.cancel:
        session.client.post(f"{_PATH}/cancel", {})
        session.report("the comparison ends, with what it found so far")
        return DONE
    return record_cli.show(options, session, _PATH, one=comparison_lines, table=comparison_table)
