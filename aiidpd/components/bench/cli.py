"""``aiidpctl bench``: measure the endpoints, show the last figures."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from aiidpd.cli import engine_text, job
from aiidpd.cli.session import DONE, Session
from aiidpd.cli.text import plain
from aiidpd.components.bench.accept import cli as accept
from aiidpd.components.bench.cli_text import bench_table, wakes
from aiidpd.components.bench.compare import cli as compare
from aiidpd.components.bench.guard import cli as guard
from aiidpd.components.bench.load import cli as load
from aiidpd.components.bench.regression import cli as regression


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = commands.add_parser("run", parents=[common], help="measure now, and wait for the end")
    run.add_argument("--endpoint", metavar="NAME", help="only this one")
    job.add_no_wait(run)
    run.set_defaults(run=_run)
    commands.add_parser(
        "list", parents=[common], help="show each endpoint's last measurement, and its engine"
    ).set_defaults(run=_list)
    regression.add(commands, common)
    accept.add(commands, common)
    load.add(commands, common)
    compare.add(commands, common)
    guard.add(commands, common)


def _run(options: argparse.Namespace, session: Session) -> int:
    body = {} if options.endpoint is None else {"endpoint": options.endpoint}
    for each in session.client.get("/v1/bench/results")["endpoints"]:
        if options.endpoint not in (None, each["name"]):
            continue
        if what := wakes(each):
            session.report(plain(f"{each['name']}: this {what}"))
        elif each["left_out"]:
            session.report(plain(f"{each['name']}: by hand, though by schedule not now ({each['left_out']})"))
    return job.start(session, "/v1/bench/runs", body, result, wait=not options.no_wait)


def result(session: Session, job: Mapping[str, Any]) -> list[str]:
    """Return the endpoints that ``job`` measured, as the list of endpoints shows them."""
    if "upgrade" in job["result"]:
        return guard.result(session, job)
    if "comparison" in job["result"]:
        return compare.result(session, job)
    measured = {figure.rpartition(".")[0] for figure in job["result"]}
    document = session.client.get("/v1/bench/results")
    endpoints = [each for each in document["endpoints"] if each["name"] in measured]
    return bench_table({**document, "endpoints": endpoints}, time.time(), session.paint)


def _list(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/bench/results")
    if session.json:
        session.document(document)
        return DONE
    if document["reason"]:
        session.report(document["reason"])
    now = time.time()
    lines = bench_table(document, now, session.paint)
    session.data(lines + engine_text.engine_lines(document, now, session.paint))
    return DONE
