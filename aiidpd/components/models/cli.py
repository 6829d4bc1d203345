"""``aiidpctl models``: which models lie here, from where, used by what, backed up or not."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

from aiidpd.cli import job
from aiidpd.cli.session import DONE, Session
from aiidpd.cli.snapshot import show
from aiidpd.components.models.cli_text import (
    duplicate_lines,
    model_details,
    model_table,
    upstream_table,
    usage_lines,
    verified_lines,
)

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from typing import Any


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options; without one the models are listed."""
    parser.set_defaults(run=_list)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("list", parents=[common], help="list the models").set_defaults(run=_list)
    one = commands.add_parser("show", parents=[common], help="show all that is known of one model")
    one.add_argument("name", metavar="NAME", help="its name in the list")
    one.set_defaults(run=_show)
    usage = commands.add_parser(
        "usage", parents=[common], help="what uses the models, and when disks are full"
    )
    usage.set_defaults(run=_usage)
    twice = commands.add_parser("duplicates", parents=[common], help="the same content twice, links left out")
    twice.add_argument(
        "--verify", action="store_true", help="read what is probably the same first, so that it is certain"
    )
    twice.set_defaults(run=_duplicates)
    check = commands.add_parser("check", parents=[common], help="ask the hub for newer revisions")
    check.add_argument("name", metavar="NAME", nargs="?", default="", help="of one model alone")
    job.add_no_wait(check)
    check.set_defaults(run=_check)
    verify = commands.add_parser(
        "verify", parents=[common], help="read a model whole, compare its hashes and its signature"
    )
    verify.add_argument("name", metavar="NAME", help="its name in the list")
    verify.add_argument(
        "--signature", action="store_true", help="fail unless a configured signer's signature of it is valid"
    )
    job.add_no_wait(verify)
    verify.set_defaults(run=_verify)
    scan = commands.add_parser("scan", parents=[common], help="search for models now")
    job.add_no_wait(scan)
    scan.set_defaults(run=_scan)


def _list(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/models")
    return show(session, document, "models", lambda: model_table(document, time.time(), session.paint))


def _show(options: argparse.Namespace, session: Session) -> int:
    document = session.client.get_named("/v1/models", options.name)
    return show(session, document, "models", lambda: model_details(document, time.time(), session.paint))


def _usage(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/models")
    return show(session, document, "models", lambda: usage_lines(document, time.time(), session.paint))


def _duplicates(options: argparse.Namespace, session: Session) -> int:
    code = DONE
    if options.verify:
        body = {"duplicates": True}
        code = job.start(session, "/v1/models/verifications", body, _verified, wait=True)
        if session.json:
            return code
    document = session.client.get("/v1/models")
    shown = show(session, document, "duplicates", lambda: duplicate_lines(document, session.paint))
    return code or shown


def _check(options: argparse.Namespace, session: Session) -> int:
    def result(session: Session, _job: Mapping[str, Any]) -> list[str]:
        document = session.client.get("/v1/models")
        return upstream_table(document, options.name, time.time(), session.paint)

    return job.start(session, "/v1/models/checks", {"name": options.name}, result, wait=not options.no_wait)


def _verify(options: argparse.Namespace, session: Session) -> int:
    body = {"name": options.name, "signature": options.signature}
    return job.start(session, "/v1/models/verifications", body, _verified, wait=not options.no_wait)


def _scan(options: argparse.Namespace, session: Session) -> int:
    return job.start(session, "/v1/models/scans", {}, _nothing, wait=not options.no_wait)


def _verified(session: Session, job: Mapping[str, Any]) -> list[str]:
    return verified_lines(job["result"], session.paint) if job["result"] else []


def _nothing(_session: Session, _job: Mapping[str, Any]) -> list[str]:
    """Return no lines, so that the figures of the job are shown."""
    return []
