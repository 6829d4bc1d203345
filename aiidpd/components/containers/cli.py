"""``aiidpctl containers``: every container of the engine, and one with all that is known of it."""

from __future__ import annotations

import argparse
import time

from aiidpd.cli.session import Session
from aiidpd.cli.snapshot import show
from aiidpd.components.containers.cli_detail import container_lines
from aiidpd.components.containers.cli_text import container_table
from aiidpd.components.containers.heal import cli as heal

_PATH = "/v1/containers"


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its command, with the ``common`` options; without it the containers are listed too."""
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("list", parents=[common], help="list the containers").set_defaults(run=run)
    one = commands.add_parser("show", parents=[common], help="everything that is known of one")
    one.add_argument("container", metavar="NAME", help="its name, or the beginning of its id")
    one.set_defaults(run=run_show)
    heal.add(commands, common)


def run(_options: argparse.Namespace, session: Session) -> int:
    """Show the containers; fail where there is no current reading."""
    document = session.client.get(_PATH)
    return show(
        session,
        document,
        "containers",
        lambda: container_table(document, time.time(), session.paint),
    )


def run_show(options: argparse.Namespace, session: Session) -> int:
    """Show one container; fail where there is no such, or no current reading."""
    document = session.client.get(f"{_PATH}/{options.container.strip('/')}")
    return show(
        session,
        document,
        "figures",
        lambda: container_lines(document, time.time(), session.paint),
    )
