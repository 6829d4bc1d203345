"""``aiidpctl reload``: have the daemon read its configuration again, all of it or nothing."""

from __future__ import annotations

import argparse

from aiidpd.cli.session import DONE, Session


def add(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its options."""
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace, session: Session) -> int:
    """Reload; print the keys that changed."""
    document = session.client.post("/v1/config/reload")
    if session.json:
        session.document(document)
    else:
        session.data(document["changed"])
        if not document["changed"]:
            session.say("nothing had changed")
    return DONE
