"""``aiidpctl bench accept``: criteria of acceptance, checked against a server."""

from __future__ import annotations

import argparse

from aiidpd.api.client import ControlClient
from aiidpd.cli.session import DONE, FAILED, Session
from aiidpd.components.bench.accept.machine import Given, UnknownGpu
from aiidpd.components.bench.accept.report import Report
from aiidpd.components.bench.accept.report_text import junit, markdown, text_lines
from aiidpd.components.bench.accept.runner import AcceptanceRequest, accept, read_profile
from aiidpd.components.bench.given import NotUsable, read_key, refuse, server, write_file


def run(options: argparse.Namespace, session: Session) -> int:
    """Check the criteria, write the reports, and return whether all were met."""
    url, model = server(options, session)
    if options.draft_accepted < 1:
        refuse("--draft-accepted is 1 or more: a step yields a token at least")
    try:
        asked = AcceptanceRequest(
            url=url,
            profile=read_profile(options.profile),
            model=model,
            engine=options.engine,
            api_key=read_key(options.api_key_file),
            given=Given(
                options.weights,
                options.parameters,
                options.gpu,
                options.bandwidth,
                options.precision,
                options.draft_accepted,
            ),
            connect=lambda: ControlClient(options.socket),
        )
        report = accept(asked, session.report)
    except (NotUsable, UnknownGpu) as error:
        refuse(str(error))
    _write(options, report)
    if session.json:
        session.document(report.document())
    else:
        session.data(text_lines(report, session.paint))
    return DONE if report.accepted else FAILED


def _write(options: argparse.Namespace, report: Report) -> None:
    for path, words in ((options.junit, junit), (options.markdown, markdown)):
        if path is None:
            continue
        write_file(path, words(report))
