"""``aiidpctl bench regressions`` and ``bench rebaseline``."""

from __future__ import annotations

import argparse
import time

from aiidpd.cli.session import DONE, Session
from aiidpd.cli.text import plain
from aiidpd.components.bench.regression.cli_text import FIGURES, regression_lines

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from typing import Any


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to ``commands``, each with the ``common`` options."""
    commands.add_parser(
        "regressions", parents=[common], help="show each figure beside its baseline, and what changed with it"
    ).set_defaults(run=_regressions)
    rebaseline = commands.add_parser(
        "rebaseline", parents=[common], help="learn what is usual for an endpoint anew"
    )
    rebaseline.add_argument("endpoint", metavar="NAME", help="its name in the list")
    rebaseline.add_argument("--figure", choices=sorted(FIGURES), help="only this one")
    rebaseline.add_argument(
        "--reason", required=True, metavar="TEXT", help="why, for whoever reads the history"
    )
    rebaseline.set_defaults(run=_rebaseline)


def _regressions(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/bench/regressions")
    if session.json:
        session.document(document)
    else:
        session.data(regression_lines(document, time.time(), session.paint))
    return DONE


def _rebaseline(options: argparse.Namespace, session: Session) -> int:
    body = {"endpoint": options.endpoint, "reason": options.reason}
    if options.figure:
        body["figure"] = FIGURES[options.figure]
    document = session.client.post("/v1/bench/baselines", body)
    if session.json:
        session.document(document)
    else:
        what = options.figure or "all figures"
        session.report(plain(f"{options.endpoint}: the baseline of {what} is learned anew"))
    return DONE
