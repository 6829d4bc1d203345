"""``aiidpctl status``: the whole daemon at one look."""

from __future__ import annotations

import argparse

from aiidpd.cli.render import render_overview
from aiidpd.cli.session import DONE, FAILED, Session


def add(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its options."""
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace, session: Session) -> int:
    """Show everything; fail where a worker is not up or a finding of severity error stands."""
    status = session.client.get("/v1/status")
    if session.json:
        session.document(status)
    else:
        sections = ("/v1/gpus", "/v1/containers", "/v1/backup/snapshots", "/v1/bench/results")
        documents = [session.client.get(path) for path in sections]
        session.data(render_overview(status, *documents, paint=session.paint))
    return DONE if status["healthy"] else FAILED
