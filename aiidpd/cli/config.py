"""``aiidpctl config``: the configuration in force."""

from __future__ import annotations

import argparse

from aiidpd.cli.session import DONE, Session
from aiidpd.cli.text import table


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    show = commands.add_parser("show", parents=[common], help="show every setting in force")
    show.add_argument("--origin", action="store_true", help="show which file and line or variable set it")
    show.set_defaults(run=_show)


def _show(options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/config")
    if session.json:
        session.document(document)
    elif options.origin:
        rows = [(entry["key"], entry["value"], entry["origin"]) for entry in document["entries"]]
        session.data(table(("KEY", "VALUE", "SET BY"), rows, session.paint))
    else:
        session.data(f"{entry['key']} = {entry['value']}" for entry in document["entries"])
    return DONE
