"""``aiidpctl runbook``: pages for the person on call, installed with the program; no daemon is needed."""

from __future__ import annotations

import argparse
import difflib
import os

from aiidpd.api.client import ControlError
from aiidpd.cli.session import DONE, USAGE, Session

FOLDER = os.path.join(os.path.dirname(__file__), "runbooks")  # noqa: PTH118, PTH120 -- loads no pathlib
_END = ".md"


class NoRunbook(ControlError):
    """A name that no page has."""

    exit_code = USAGE


def add(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its options."""
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="name of the alert; without it, list the pages"
    )
    parser.set_defaults(run=_run)


def names() -> list[str]:
    """Return the names of all pages, sorted."""
    return sorted(name.removesuffix(_END) for name in os.listdir(FOLDER) if name.endswith(_END))  # noqa: PTH208


def page(name: str) -> str:
    """Return the page ``name``, whose case does not matter; raises :class:`NoRunbook`."""
    known = names()
    found = next((each for each in known if each.lower() == name.lower()), None)
    if found is None:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"the nearest is {near[0]}" if near else "`aiidpctl runbook` lists them"
        raise NoRunbook(f"cannot show runbook {name[:80]}: there is no such page; {hint}")
    with open(os.path.join(FOLDER, found + _END), encoding="utf-8") as file:  # noqa: PTH118, PTH123
        return file.read()


def _run(options: argparse.Namespace, session: Session) -> int:
    if options.name is None:
        if session.json:
            session.document({"runbooks": names()})
        else:
            session.data(names())
        return DONE
    text = page(options.name)
    if session.json:
        session.document({"name": text.partition("\n")[0].removeprefix("# "), "text": text})
    else:
        session.data(text.rstrip().split("\n"))
    return DONE
