"""``aiidpctl incidents``: lists and draws the incidents that are stored."""

from __future__ import annotations

import argparse
import shutil
import time

from aiidpd.cli.session import DONE, FAILED, Session
from aiidpd.incidents import cli_text

_PATH = "/v1/incidents"
_WIDTH = 100
_NARROWEST, _WIDEST = 40, 160


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add the commands to ``parser``, each with the ``common`` options; without one it lists them."""
    parser.set_defaults(run=_list)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("list", parents=[common], help="list the incidents").set_defaults(run=_list)
    show = commands.add_parser("show", parents=[common], help="describe and draw one")
    show.add_argument("incident", metavar="ID", help='its id, the beginning of that, or "last"')
    show.set_defaults(run=_show)


def _list(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get(_PATH)
    if session.json:
        session.document(document)
        return DONE
    session.data(cli_text.incident_table(document["incidents"], time.time(), session.paint))
    if not document["incidents"]:
        session.report("there are no incidents")
    return DONE


def _show(options: argparse.Namespace, session: Session) -> int:
    width = shutil.get_terminal_size().columns if session.out.isatty() else _WIDTH
    width = max(_NARROWEST, min(_WIDEST, width))
    identity = _identity(options.incident, session)
    if not identity:
        session.report("there are no incidents")
        return FAILED
    # Two points a column are all that can be drawn; a program gets what the daemon gives of itself.
    query = {} if session.json else {"points": 4 * width}
    document = session.client.get(f"{_PATH}/{identity}", **query)
    if session.json:
        session.document(document)
        return DONE
    braille = "utf" in (getattr(session.out, "encoding", None) or "utf-8").lower()
    session.data(cli_text.incident_lines(document, session.paint, width=width, braille=braille))
    return DONE


def _identity(wanted: str, session: Session) -> str:
    """Return the one id that ``wanted`` means: "last" or how it begins; else ``wanted`` itself.

    Empty where the last is wanted and there is none.
    """
    known = [each["id"] for each in session.client.get(_PATH)["incidents"]]
    if wanted == "last":
        return str(known[-1]) if known else ""
    meant = [identity for identity in known if identity.startswith(wanted)]
    return str(meant[0]) if len(meant) == 1 else wanted
