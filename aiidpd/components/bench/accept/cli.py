"""``aiidpctl bench accept``: its options."""

from __future__ import annotations

import argparse
from typing import Any, Final

from aiidpd.cli.arguments import argument
from aiidpd.cli.session import Session
from aiidpd.physics.units import parse_bytes, parse_rate

_SIZE: Final = argument(parse_bytes)
_RATE: Final = argument(parse_rate)
_LARGEST: Final = 1e15


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``commands``, with the ``common`` options."""
    parser = commands.add_parser(
        "accept",
        parents=[common],
        help="check criteria of acceptance against a server; fails where one is not met",
    )
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument("--target", metavar="URL", help="the server's base URL")
    server.add_argument("--endpoint", metavar="NAME", help="one of bench.endpoints, by the daemon")
    parser.add_argument("--model", metavar="NAME", default="", help="the model to request: its only one")
    parser.add_argument(
        "--profile", metavar="FILE", default="default", help="criteria: a file, or default or seed"
    )
    parser.add_argument("--engine", metavar="NAME", default="", help="such as vllm; without it, as it says")
    parser.add_argument("--api-key-file", metavar="PATH", help="file that holds the server's key")
    parser.add_argument("--junit", metavar="PATH", help="write a report in JUnit XML")
    parser.add_argument("--markdown", metavar="PATH", help="write a report in Markdown")
    add_machine(parser)
    parser.set_defaults(run=_run)


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options that say what a server's speed is held against."""
    parser.add_argument("--weights", metavar="SIZE", type=_SIZE, help="bytes that a token reads, as 4.58GiB")
    parser.add_argument("--parameters", metavar="N", type=number, help="that work on a token, as 8.03e9")
    parser.add_argument("--gpu", metavar="NAME", help="the server's GPU, as 'RTX 4090'")
    parser.add_argument("--bandwidth", metavar="RATE", type=_RATE, help="of its memory, as 448GB/s")
    parser.add_argument(
        "--precision", default="fp16", choices=("fp32", "fp16", "fp8", "int8", "fp4"), help="fp16"
    )
    parser.add_argument(
        "--draft-accepted", metavar="N", type=number, default=1.0, help="tokens a step, with a draft"
    )


def _run(options: argparse.Namespace, session: Session) -> int:
    from aiidpd.components.bench.accept.command import run  # noqa: PLC0415 -- other commands need not wait for it

    return run(options, session)


def number(text: str) -> float:
    """Return a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _LARGEST:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number above 0")
    return value
