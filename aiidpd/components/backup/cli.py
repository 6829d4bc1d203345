"""``aiidpctl backup``: run one, list the snapshots."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from aiidpd.cli import job
from aiidpd.cli.session import DONE, Session
from aiidpd.components.backup.cli_text import snapshot_table


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = commands.add_parser("run", parents=[common], help="back up now, and wait for the end")
    job.add_no_wait(run)
    run.set_defaults(run=_run)
    commands.add_parser("list", parents=[common], help="list the snapshots").set_defaults(run=_list)


def _run(options: argparse.Namespace, session: Session) -> int:
    return job.start(session, "/v1/backup/runs", {}, result, wait=not options.no_wait)


def result(session: Session, job: Mapping[str, Any]) -> list[str]:
    """Return the snapshot that the backup ``job`` made, as the list of snapshots shows it."""
    made = job["result"]
    if not made.get("snapshot"):
        return []
    figures = {name: made.get(name) for name in ("files", "bytes", "copied_bytes")}
    snapshot = {"id": made["snapshot"], "verified_at": job["finished_at"], "broken": "", **figures}
    return snapshot_table({"snapshots": [snapshot]}, time.time(), session.paint)


def _list(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/backup/snapshots")
    if session.json:
        session.document(document)
        return DONE
    if document["reason"]:  # then the target may not have been read
        session.report(document["reason"])
    elif document["configured"] and not document["snapshots"]:
        session.report(f"there are no snapshots in {document['target']}")
    session.data(snapshot_table(document, time.time(), session.paint))
    return DONE
