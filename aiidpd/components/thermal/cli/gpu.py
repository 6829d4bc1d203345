"""``aiidpctl gpu``: the last reading of each GPU, its record; release the driver, and take it back."""

from __future__ import annotations

import argparse
from typing import Any

from aiidpd.cli.session import DONE, Session
from aiidpd.cli.snapshot import show
from aiidpd.components.thermal.cli import energy
from aiidpd.components.thermal.cli.text import gpu_table
from aiidpd.history.cli import duration


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options; without one it lists the GPUs."""
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("list", parents=[common], help="list the GPUs").set_defaults(run=run)
    release = commands.add_parser(
        "release", parents=[common], help="free the NVIDIA driver, so that it can be upgraded"
    )
    release.add_argument(
        "--for",
        dest="seconds",
        type=duration,
        metavar="TIME",
        help='resume by itself after "30s", "10min", "1h"',
    )
    release.set_defaults(run=_release)
    resume = commands.add_parser("resume", parents=[common], help="take hold of the driver again")
    resume.set_defaults(run=_resume)
    energy.add(commands, common)


def run(_options: argparse.Namespace, session: Session) -> int:
    """Show the GPUs; fail where there is no current reading."""
    document = session.client.get("/v1/gpus")
    return show(session, document, "GPUs", lambda: gpu_table(document, session.paint))


def _release(options: argparse.Namespace, session: Session) -> int:
    request = {} if options.seconds is None else {"seconds": options.seconds}
    document = session.client.post("/v1/gpus/release", request)
    left = document["seconds_left"]
    until = "`aiidpctl gpu resume`" if left is None else f"{left:.0f} s from now, or `aiidpctl gpu resume`"
    return _answered(session, document, f"the driver is free, and no GPU is read, until {until}")


def _resume(_options: argparse.Namespace, session: Session) -> int:
    return _answered(session, session.client.post("/v1/gpus/resume"), "the GPUs are read again")


def _answered(session: Session, document: dict[str, Any], words: str) -> int:
    if session.json:
        session.document(document)
    else:
        session.report(words)
    return DONE
