"""``aiidpctl jobs``: the work that was asked for."""

from __future__ import annotations

import argparse
import time

from aiidpd.cli import job, render
from aiidpd.cli.session import DONE, Session
from aiidpd.components.backup import cli as backup
from aiidpd.components.bench import cli as bench

_RESULTS = {"backup": backup.result, "bench": bench.result}


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options; without one it lists the jobs."""
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("list", parents=[common], help="list the jobs").set_defaults(run=run)
    follow = commands.add_parser("follow", parents=[common], help="follow one to its end")
    follow.add_argument("job", metavar="JOB", help="its id")
    follow.set_defaults(run=_follow)


def run(_options: argparse.Namespace, session: Session) -> int:
    """List the jobs."""
    document = session.client.get("/v1/jobs")
    if session.json:
        session.document(document)
        return DONE
    session.data(render.job_table(document["jobs"], time.time(), session.paint))
    if not document["jobs"]:
        session.say("there are no jobs")
    return DONE


def _follow(options: argparse.Namespace, session: Session) -> int:
    return job.follow(session, options.job, _RESULTS)
