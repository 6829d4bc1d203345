"""``aiidpctl secrets``: keys of inference servers in files of their own, and their rotation."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Final

from aiidpd.cli.session import Session
from aiidpd.components.secrets.credential import DROP_INS
from aiidpd.components.secrets.registry import MOST_BITS, USUAL_NAMES, Format
from aiidpd.history.cli import duration

FOLDER: Final = "/etc/aiidpd/secrets"
_COMMANDS: Final = "aiidpd.components.secrets.commands"
_LEAST_BITS: Final = 128
_BYTE: Final = 8


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options."""
    own = argparse.ArgumentParser(add_help=False, parents=[common])
    own.add_argument("--folder", metavar="PATH", default=FOLDER, help=f"where keys lie: {FOLDER}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    one = commands.add_parser("generate", parents=[own], help="make keys that are not there yet")
    usual = ", ".join(USUAL_NAMES)
    one.add_argument("names", metavar="NAME", nargs="*", help=f"without one: {usual}")
    one.add_argument("--format", choices=[str(each) for each in Format], help="as the server reads it")
    one.add_argument("--bits", metavar="N", type=_bits, help="256, and 384 for a name with ADMIN in it")
    one.add_argument(
        "--from", dest="source", metavar="FILE", help="take the key that is in FILE, - for standard input"
    )
    one.add_argument("--accept-weak", action="store_true", help="take it though it could be guessed")
    one.add_argument("--show", action="store_true", help="print the keys")
    _add_facts(one)
    one.set_defaults(run=_command("generate"))
    one = commands.add_parser("set", parents=[own], help="change what is noted about a key")
    one.add_argument("name", metavar="NAME", help="the key")
    _add_facts(one)
    one.set_defaults(run=_command("change"))
    one = commands.add_parser("list", parents=[own], help="the keys, their files and users; no key is shown")
    one.set_defaults(run=_command("show_list"))
    one = commands.add_parser("show", parents=[own], help="print one key")
    one.add_argument("name", metavar="NAME", help="the key")
    one.set_defaults(run=_command("show"))
    one = commands.add_parser("verify", parents=[own], help="check files, strength and servers")
    one.add_argument("names", metavar="NAME", nargs="*", help="the keys; without one, all")
    one.add_argument("--offline", action="store_true", help="send no server a request")
    one.set_defaults(run=_command("check"))
    _add_rotate(
        commands.add_parser("rotate", parents=[own], help="replace a key; nobody is refused meanwhile")
    )
    one = commands.add_parser("credential", parents=[own], help="the lines that give aiidpd a key by systemd")
    one.add_argument("name", metavar="NAME", help="the key")
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument("--endpoint", metavar="NAME", help="for this one of bench.endpoints")
    which.add_argument("--server", metavar="NAME", help="for this one of engines.servers")
    one.add_argument("--apply", action="store_true", help="write them into a drop-in of the unit")
    one.add_argument("--drop-ins", metavar="PATH", default=DROP_INS, help=f"where: {DROP_INS}")
    one.set_defaults(run=_command("show_credential"))
    one = commands.add_parser("remove", parents=[own], help="remove a key and its files")
    one.add_argument("name", metavar="NAME", help="the key")
    one.set_defaults(run=_command("remove"))


def _add_facts(parser: argparse.ArgumentParser) -> None:
    """Add what is noted about a key."""
    parser.add_argument("--owner", metavar="USER[:GROUP]", help="of the file that the server reads")
    parser.add_argument("--url", metavar="URL", help="the server's address, as http://127.0.0.1:8000")
    runs = parser.add_mutually_exclusive_group()
    runs.add_argument("--container", metavar="NAME", help="the container that the server runs in")
    runs.add_argument("--unit", metavar="NAME", help="the unit of systemd that it runs in")
    parser.add_argument(
        "--user",
        dest="users",
        metavar="WHO",
        action="append",
        help="who sends the key: daemon, container:NAME, unit:NAME, hand, nobody; may be given again",
    )
    parser.add_argument(
        "--copy", dest="copies", metavar="PATH", action="append", help="a copy of the key; none for no copies"
    )


def _add_rotate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the key")
    parser.add_argument("--bits", metavar="N", type=_bits, help="of the new key")
    parser.add_argument("--switched", action="store_true", help="all who get it by hand have the new key")
    parser.add_argument("--back", action="store_true", help="go back to the key that was")
    parser.add_argument("--unverified", action="store_true", help="with --back: the server is gone")
    parser.add_argument("--with-gap", action="store_true", help="for who can read one key alone")
    parser.add_argument(
        "--restart-yourself", action="store_true", help="you restart the server when this says so"
    )
    parser.add_argument(
        "--patience", metavar="TIME", type=duration, default=600.0, help="for a server that is silent: 10min"
    )
    parser.set_defaults(run=_command("rotate"))


def _command(name: str) -> Callable[[argparse.Namespace, Session], int]:
    """Return the function ``name`` of the commands, which are loaded when one is called."""

    def run(options: argparse.Namespace, session: Session) -> int:
        function = getattr(importlib.import_module(_COMMANDS), name)
        code: int = function(options, session)
        return code

    return run


def _bits(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST_BITS))):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number of bits")
    bits = int(text)
    if not _LEAST_BITS <= bits <= MOST_BITS or bits % _BYTE:
        raise argparse.ArgumentTypeError(
            f"{bits} is not from {_LEAST_BITS} to {MOST_BITS} in steps of {_BYTE}"
        )
    return bits
