"""``aiidpctl engines``: each inference engine, how it is and what it does."""

from __future__ import annotations

import argparse
import time

from aiidpd.cli.session import FAILED, Session
from aiidpd.cli.snapshot import show
from aiidpd.components.engines.cli_text import engine_details, engine_table


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, with the ``common`` options; without one the engines are listed too."""
    parser.set_defaults(run=_list)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("list", parents=[common], help="list the engines").set_defaults(run=_list)
    one = commands.add_parser("show", parents=[common], help="show all that is known of one engine")
    one.add_argument("name", metavar="NAME", help="its name in the list")
    one.set_defaults(run=_show)


def _list(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/engines")
    return show(session, document, "engines", lambda: engine_table(document, time.time(), session.paint))


def _show(options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/engines")
    found = [each for each in document["engines"] if each["name"] == options.name]
    if not found:
        known = ", ".join(each["name"] for each in document["engines"])
        session.report(
            f"there is no engine {options.name}; " + (f"known are: {known}" if known else "there is none")
        )
        return FAILED
    return show(
        session,
        {**document, "engines": found},
        "engines",
        lambda: engine_details(found[0], time.time(), session.paint),
    )
