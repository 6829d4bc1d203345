"""``aiidpctl events``: what happened and was decided."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

from aiidpd.cli.session import DONE, Session
from aiidpd.cli.text import SIMULATED, Document, Paint, moment, plain

_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_MOST = 1000
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(s|min|m|h|d|w)")


def add(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its options."""
    parser.add_argument("-f", "--follow", action="store_true", help="continue with the events to come")
    parser.add_argument("--since", type=ago, metavar="TIME", help='only the last "90s", "30min", "12h", "7d"')
    parser.add_argument("--kind", default="", metavar="PREFIX", help='only kinds that begin so: "container."')
    parser.add_argument(
        "--severity",
        choices=("debug", "info", "warning", "error"),
        default="debug",
        help="only so grave ones, and graver",
    )
    parser.add_argument("--subject", help="only events about this subject")
    parser.add_argument(
        "--limit", type=limit, default=100, metavar="N", help="at most the newest N, up to 1000 (100)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, session: Session) -> int:
    """Show events; with ``--follow`` until interrupted."""
    query = {
        "since": options.since,
        "limit": options.limit,
        "kind": options.kind,
        "severity": options.severity,
        "subject": options.subject,
    }
    if not options.follow:
        document = session.client.get("/v1/events", **query)
        if session.json:
            session.document(document)
        else:
            session.data(event_line(event, session.paint) for event in document["events"])
            if not document["events"]:
                session.report("there are no such events")
        return DONE
    for line in session.client.stream("/v1/events", **query):
        _show(line, session)
    session.report("the daemon ended the stream: it stops")
    return DONE


def _show(line: dict[str, Any], session: Session) -> None:
    if session.json:
        session.document(line)
    elif "missed" in line:
        count = line["missed"] or "some"
        session.report(f"{count} events are missing here: {line['reason']}")
    else:
        session.data(event_line(line, session.paint))


def event_line(event: Document, paint: Paint) -> str:
    """Return one event as a line."""
    severity = event["severity"]
    marked = f"{severity:<7}"
    if severity in ("warning", "error"):
        marked = paint.warn(marked) if severity == "warning" else paint.bad(marked)
    subject = f" {plain(event['subject'])}" if event["subject"] else ""
    simulated = f"  {paint.warn(SIMULATED)}" if event["simulated"] else ""
    what = f"{paint.bold(plain(event['kind']))}{subject}: {plain(event['reason'])}"
    return f"{paint.dim(moment(event['time']))}  {marked}  {what}{simulated}"


def duration(text: str) -> float:
    """Return the seconds that ``text`` (``90s``, ``1h30min``) lasts."""
    pieces = _PIECE.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        raise argparse.ArgumentTypeError(f'{text!r} is no duration such as "90s", "30min", "12h" or "7d"')
    return sum(float(number) * _SECONDS[unit] for number, unit in pieces)


def ago(text: str) -> float:
    """Return the Unix time that ``text`` (``90s``, ``1h30min``) before now was."""
    return max(0.0, time.time() - duration(text))


def limit(text: str) -> int:
    """Return the number from 1 to 1000 that ``text`` is."""
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST}")
    return int(text)
