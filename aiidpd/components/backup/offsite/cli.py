"""``aiidpctl backup offsite``: list the repositories, send to one, verify, restore, make one."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from typing import Any

from aiidpd.cli import job
from aiidpd.cli.session import DONE, Session
from aiidpd.components.backup.offsite.cli_text import repository_lines, result_lines

RUNS = "/v1/backup/offsite/runs"
RESTORES = "/v1/backup/offsite/restores"


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser``, ``aiidpctl backup offsite``, its commands, each with the ``common`` options.

    Without one it lists the repositories.
    """
    parser.set_defaults(run=_list)
    own = parser.add_subparsers(title="commands", metavar="COMMAND")
    own.add_parser("list", parents=[common], help="list the repositories").set_defaults(run=_list)
    for name, words in (
        ("run", "send the newest snapshot there, verify a part, and wait for the end"),
        ("verify", "read back what lies there, and wait for the end"),
        ("init", "make a repository where there is none"),
        ("restore", "restore the newest snapshot from there into an empty folder, and prove it"),
    ):
        command = own.add_parser(name, parents=[common], help=words)
        command.add_argument("name", metavar="NAME", help="the repository's name")
        if name == "verify":
            command.add_argument("--all", action="store_true", help="all of it and not the next part")
        if name == "restore":
            where = "a folder of the daemon's machine, empty or new"
            command.add_argument("--to", metavar="FOLDER", required=True, help=where)
            command.add_argument("--snapshot", default="", metavar="ID", help="restic's id of another one")
        job.add_no_wait(command)
        command.set_defaults(run=_restore if name == "restore" else _run, act=name)


def _list(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/backup/offsite")
    if session.json:
        session.document(document)
        return DONE
    if document["reason"]:
        session.report(document["reason"])
    session.data(repository_lines(document, time.time(), session.paint))
    return DONE


def _run(options: argparse.Namespace, session: Session) -> int:
    body: dict[str, Any] = {"repository": options.name, "act": options.act}
    if options.act == "verify":
        body["all"] = options.all
    return job.start(session, RUNS, body, result, wait=not options.no_wait)


def _restore(options: argparse.Namespace, session: Session) -> int:
    body = {"repository": options.name, "to": os.path.abspath(options.to), "snapshot": options.snapshot}  # noqa: PTH100 -- pathlib takes 10 ms to load
    return job.start(session, RESTORES, body, result, wait=not options.no_wait)


def result(_session: Session, job: Mapping[str, Any]) -> list[str]:
    """Return what came of the ``job``."""
    return result_lines(job["result"])
