"""``aiidpctl containers``: every container of the engine."""

from __future__ import annotations

import argparse
import time

from aiidpd.cli.session import Session
from aiidpd.cli.snapshot import show
from aiidpd.components.containers.cli_text import container_table


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its command, with the ``common`` options; without it the containers are listed too."""
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("list", parents=[common], help="list the containers").set_defaults(run=run)


def run(_options: argparse.Namespace, session: Session) -> int:
    """Show the containers; fail where there is no current reading."""
    document = session.client.get("/v1/containers")
    return show(
        session,
        document,
        "containers",
        lambda: container_table(document, time.time(), session.paint),
    )
