"""``aiidpctl gpu``: the last reading of each GPU."""

from __future__ import annotations

import argparse

from aiidpd.cli import render
from aiidpd.cli.reading import show
from aiidpd.cli.session import Session


def add(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its options."""
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace, session: Session) -> int:
    """Show the GPUs; fail where there is no current reading."""
    document = session.client.get("/v1/gpus")
    return show(session, document, "GPUs", lambda: render.gpu_table(document, session.paint))
