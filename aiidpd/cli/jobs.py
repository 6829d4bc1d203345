"""``aiidpctl jobs``: the work that was asked for."""

from __future__ import annotations

import argparse
import time

from aiidpd.cli import job, render
from aiidpd.cli.session import DONE, Session


def add(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its options."""
    parser.add_argument("job", nargs="?", metavar="JOB", help="follow this one to its end")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, session: Session) -> int:
    """List the jobs, or follow one."""
    if options.job is not None:
        return job.follow(session, options.job)
    document = session.client.get("/v1/jobs")
    if session.json:
        session.document(document)
    else:
        session.data(render.job_table(document["jobs"], time.time(), session.paint))
    return DONE
