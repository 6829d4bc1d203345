"""``aiidpctl bundle``: an archive for a report of a fault, without secrets; no daemon is needed."""

from __future__ import annotations

import argparse

from aiidpd.api.client import ControlError
from aiidpd.cli.session import DONE, FAILED, Session
from aiidpd.cli.text import plain, size, table
from aiidpd.cli.tool import answer

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    pass

TOOL = "aiidpd.daemon.bundle.tool"


class _Refused(ControlError):
    """An archive that was not written."""

    exit_code = FAILED


def add(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its options."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="the archive; default: a name with the time, here"
    )
    parser.add_argument("--list", action="store_true", help="show what would be in it, and write nothing")
    parser.add_argument("--config", metavar="FILE", help="default: /etc/aiidpd/aiidpd.toml, if there is one")
    parser.set_defaults(run=_bundle)


def _bundle(options: argparse.Namespace, session: Session) -> int:
    request = {"socket": options.socket, "config": options.config, "file": options.file, "list": options.list}
    document = answer(TOOL, request, "makes the archive", _Refused)
    if session.json:
        session.document(document)
        return DONE
    rows = [
        (
            each["name"],
            size(each["bytes"]),
            str(each["redacted"]),
            each["about"] + (" (its end)" if each["cut"] else ""),
        )
        for each in document["members"]
    ]
    session.data(table(("MEMBER", "SIZE", "REDACTED", "WHAT"), rows, session.paint, right=" rr "))
    reasons: dict[str, list[str]] = {}
    for each in document["left_out"]:
        reasons.setdefault(each["reason"], []).append(each["name"])
    for reason, names in reasons.items():
        session.report(f"left out: {', '.join(names)}: {reason}")
    for path in document["unread"]:
        session.report(f"not read: {path}; as root, more is read, and more keys are known and taken out")
    if document["path"]:
        session.report(
            f"written: {plain(document['path'])}; it has no keys, but names of containers, models and "
            "folders, and this machine's settings: read it before you send it"
        )
    return DONE
