"""``aiidpctl alerts``: what fires or is about to."""

from __future__ import annotations

import argparse
import time

from aiidpd.cli import render
from aiidpd.cli.session import DONE, Session


def add(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its options."""
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace, session: Session) -> int:
    """Show the alerts."""
    document = session.client.get("/v1/alerts")
    if session.json:
        session.document(document)
        return DONE
    session.data(render.alert_lines(document["alerts"], time.time(), session.paint))
    if not document["alerts"]:
        session.say("no alert fires or is pending")
    return DONE
