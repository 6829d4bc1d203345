"""``aiidpctl bench load``: its options."""

from __future__ import annotations

import argparse
import re
from typing import Any, Final

from aiidpd.cli.session import Session
from aiidpd.components.bench.accept.cli import add_machine, number

_SPAN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(us|ms|s|min|h)", re.ASCII)
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_DEPTH: Final = re.compile(r"(\d{1,7})(k?)", re.ASCII | re.IGNORECASE)
_DEEPEST: Final = 4_000_000
_WHOLE_MOST: Final = 100_000


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``commands``, with the ``common`` options."""
    parser = commands.add_parser(
        "load", parents=[common], help="put a load on a server, and measure how it fares"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--target", metavar="URL", help="the server's base URL")
    what.add_argument("--endpoint", metavar="NAME", help="one of bench.endpoints, by the daemon")
    what.add_argument("--list", action="store_true", help="list the workloads, with their sources")
    parser.add_argument("--workload", metavar="NAME", default="chat", help="one of those (chat)")
    parser.add_argument("--model", metavar="NAME", default="", help="the model to request: its only one")
    parser.add_argument("--api-key-file", metavar="PATH", help="file that holds the server's key")
    parser.add_argument("--yes-remote", action="store_true", help="the server may be on another machine")
    level = parser.add_mutually_exclusive_group()
    level.add_argument("--users", metavar="N", type=whole, default=1, help="users at once (1)")
    level.add_argument("--rate", metavar="N", type=number, help="requests a second, whatever comes back")
    level.add_argument(
        "--depths", metavar="N,N", type=depths, help="speeds after so many tokens, as 0,4k,16k"
    )
    parser.add_argument("--ramp", action="store_true", help="double it until more load gives no more")
    parser.add_argument(
        "--most", metavar="N", type=number, help="where a ramp ends (256 users, 64 requests/s)"
    )
    parser.add_argument("--duration", metavar="TIME", type=span, default=60.0, help="of a level (60s)")
    parser.add_argument("--warm-up", metavar="TIME", type=span_or_none, default=5.0, help="not counted (5s)")
    parser.add_argument("--timeout", metavar="TIME", type=span, default=120.0, help="of a request (120s)")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="which requests are sent (1)")
    parser.add_argument(
        "--ttft-limit", metavar="TIME", type=span, help="a good request has a first token by then"
    )
    parser.add_argument("--tpot-limit", metavar="TIME", type=span, help="and takes no longer for each other")
    parser.add_argument("--plot", metavar="PATH", help="draw latency and output against load, as SVG")
    parser.add_argument("--markdown", metavar="PATH", help="write a report in Markdown")
    parser.add_argument("--csv", metavar="PATH", help="write the figures of each level as CSV")
    add_machine(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, session: Session) -> int:
    from aiidpd.components.bench.load.command import run  # noqa: PLC0415 -- other commands need not wait for it

    return run(options, session)


def span(text: str) -> float:
    """Return the seconds of ``60s``, ``500ms`` or ``10min``."""
    match = _SPAN.fullmatch(text.strip())
    value = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no time above 0 with its unit: write 60s, 500ms or 10min"
        )
    return value


def span_or_none(text: str) -> float:
    """Return the seconds of ``5s``, or 0 for ``0``."""
    return 0.0 if text.strip() in ("0", "0s") else span(text)


def whole(text: str) -> int:
    """Return a whole number above 0."""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:9]) <= _WHOLE_MOST:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number from 1 to {_WHOLE_MOST}")
    return int(text)


def depths(text: str) -> tuple[int, ...]:
    """Return the depths of ``0,4k,16k``; a k is 1024 tokens."""
    found = []
    for each in text.split(","):
        match = _DEPTH.fullmatch(each.strip())
        depth = int(match[1]) * (1024 if match[2] else 1) if match else -1
        if not 0 <= depth <= _DEEPEST:
            raise argparse.ArgumentTypeError(f"{each[:40]!r} is no number of tokens: write 0,4k,16k")
        found.append(depth)
    return tuple(sorted(set(found)))
