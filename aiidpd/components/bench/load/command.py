"""``aiidpctl bench load``: a load on a server, and how it fares."""

from __future__ import annotations

import argparse
import time
from typing import Any, Final

from aiidpd.api.client import ControlClient
from aiidpd.cli.session import DONE, FAILED, INTERRUPTED, Session, columns, draws
from aiidpd.cli.text import cut, plain
from aiidpd.components.bench.accept.machine import Given, UnknownGpu
from aiidpd.components.bench.given import NotUsable, is_local, read_key, refuse, server, write_file
from aiidpd.components.bench.load.plan import Plan
from aiidpd.components.bench.load.report import LoadReport
from aiidpd.components.bench.load.report_text import csv_text, markdown, plot, text_lines, workload_lines
from aiidpd.components.bench.load.runner import Line, LoadRequest, run_load
from aiidpd.components.bench.load.workloads import WORKLOADS

_ERASE: Final = "\r\x1b[K"
_EVERY: Final = 5.0  # seconds between two lines of progress, where a line can't be drawn again
_MOST_USERS: Final = 256
_MOST_RATE: Final = 64.0


def run(options: argparse.Namespace, session: Session) -> int:
    """Put the load on, write the reports, and return whether there is a good result."""
    if options.list:
        session.data(workload_lines(session.paint.width or columns()))
        return DONE
    asked = _load_request(options, session)
    progress = _Progress(session)
    try:
        report = run_load(asked, progress.show)
    except (NotUsable, UnknownGpu) as error:
        refuse(str(error))
    finally:
        progress.clear()
    _write(options, report)
    if session.json:
        session.document(report.document())
    else:
        session.data(text_lines(report, session.paint))
    if report.interrupted:
        return INTERRUPTED
    return FAILED if report.outcome else DONE


def _load_request(options: argparse.Namespace, session: Session) -> LoadRequest:
    url, model = server(options, session)
    if options.workload not in WORKLOADS:
        refuse(f"there is no workload {options.workload}: known are {', '.join(WORKLOADS)}")
    if options.draft_accepted < 1:
        refuse("--draft-accepted is 1 or more: a step yields a token at least")
    if options.ramp and options.depths is not None:
        refuse("--ramp is of users or a rate, and --depths has neither")
    if options.plot is not None and options.depths is not None:
        refuse("--plot draws levels of load, and --depths has none")
    if not is_local(url) and not options.yes_remote:
        refuse(f"{url} may be on another machine, and others may use it: --yes-remote puts the load on it")
    most = options.most or (_MOST_USERS if options.rate is None else _MOST_RATE)
    try:
        key = read_key(options.api_key_file)
    except NotUsable as error:
        refuse(str(error))
    plan = Plan(
        url=url,
        workload=options.workload,
        seconds=options.duration,
        warm_up=options.warm_up,
        timeout=options.timeout,
        model=model,
        api_key=key,
        users=options.users,
        rate=options.rate,
        ramp=options.ramp,
        most=most,
        seed=options.seed,
        ttft_limit=options.ttft_limit,
        tpot_limit=options.tpot_limit,
        depths=options.depths or (),
    )
    given = Given(
        options.weights,
        options.parameters,
        options.gpu,
        options.bandwidth,
        options.precision,
        options.draft_accepted,
    )
    return LoadRequest(plan, given, lambda: ControlClient(options.socket))


def _write(options: argparse.Namespace, report: LoadReport) -> None:
    for path, words in ((options.markdown, markdown), (options.csv, csv_text), (options.plot, plot)):
        if path is not None:
            write_file(path, words(report))


class _Progress:
    """A line that is drawn again on a terminal, and lines now and then elsewhere."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._terminal = draws(session.err)
        self._written_at = 0.0
        self._drawn = False

    def show(self, line: Line) -> None:
        if "words" in line:
            self.clear()
            self._session.report(line["words"])
            self._written_at = time.monotonic()
        elif "progress" in line:
            words = _progress_words(line["progress"])
            if self._terminal:
                self._session.err.write(_ERASE + cut(words, columns() - 1))
                self._session.err.flush()
                self._drawn = True
            elif time.monotonic() - self._written_at >= _EVERY:
                self._session.report(words)
                self._written_at = time.monotonic()

    def clear(self) -> None:
        if self._drawn:
            self._session.err.write(_ERASE)
            self._session.err.flush()
            self._drawn = False


def _progress_words(progress: dict[str, Any]) -> str:
    done, of = min(progress["elapsed"], progress["seconds"]), progress["seconds"]
    counts = (
        f"{progress['in_system']} under way, {progress['answered']} answered, {progress['failed']} failed"
    )
    return plain(f"{progress['level']}: {done:.0f} of {of:.0f} s, {counts}")
