"""Work that a command requests: progress while it runs, the exit code by its outcome."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from aiidpd.cli.session import DONE, FAILED, INTERRUPTED, Session, columns, draws
from aiidpd.cli.text import Document, Paint, cut, plain, since, size, span, table

_ERASE = "\r\x1b[K"
Result: TypeAlias = Callable[[Session, Mapping[str, Any]], list[str]]
"""Gives the lines that show what came of a job; none where it knows none."""

_STEADY = 1.0  # seconds of work after which its rate means something
_EVERY = 5.0  # seconds between lines about the same step, where a line can't be drawn again


def add_no_wait(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the option ``--no-wait``."""
    parser.add_argument("--no-wait", action="store_true", help="return as soon as the work is queued")


def start(session: Session, path: str, body: dict[str, Any], result: Result, *, wait: bool) -> int:
    """Request the work at ``path`` and follow it to its end; return the exit code."""
    job = session.client.post(path, body)
    if wait:
        return follow(session, job["id"], {job["kind"]: result})
    if session.json:
        session.document(job)
    else:
        session.data(job["id"])
    return DONE


def follow(session: Session, identity: str, results: Mapping[str, Result]) -> int:
    """Show the progress of the job ``identity`` until it ends; return the exit code.

    What came of it is shown as ``results`` has it for its kind, a figure a line for others.
    """
    progress = _Progress(session)
    job: dict[str, Any] = {"id": identity, "state": "queued"}
    try:
        for job in session.client.stream(f"/v1/jobs/{identity}"):
            progress.show(job)
    except KeyboardInterrupt:
        progress.clear()
        session.report(f"the work continues in the daemon; to see it: aiidpctl jobs follow {identity}")
        return INTERRUPTED
    finally:
        progress.clear()
    return _outcome(session, job, results)


def _outcome(session: Session, job: dict[str, Any], results: Mapping[str, Result]) -> int:
    if session.json:
        session.document(job)
    elif job["state"] in ("succeeded", "failed"):
        result = results.get(job["kind"])
        session.data((result and result(session, job)) or job_result(job))
    if job["state"] == "succeeded":
        session.report(f"{job['id']} succeeded")
        return DONE
    if job["state"] == "failed":
        session.report(f"{job['id']} failed: {job['error']}")
    else:
        session.report(f"the daemon ended the stream before {job['id']} ended: it stops")
    return FAILED


def job_table(jobs: Iterable[Document], now: float, paint: Paint) -> list[str]:
    """Return the table of jobs."""
    rows = [
        (
            job["id"],
            job["state"],
            since(job["created_at"], now),
            job_progress(job) if job["state"] == "running" else job["error"],
        )
        for job in jobs
    ]
    return table(("JOB", "STATE", "CREATED", ""), rows, paint) if rows else []


def job_progress(job: Document) -> str:
    """Return how far a job is, as one line."""
    parts = [f"{job['id']}: {job['message'] or job['state']}"]
    if job["total"]:
        unit = job["unit"]
        if unit == "bytes":
            done, total = size(job["done"]), size(job["total"])
        else:
            done, total = f"{job['done']:g}", f"{job['total']:g} {unit}".rstrip()
        parts.append(f"{done} of {total}, {100 * job['done'] / job['total']:.0f} %")
    return plain("  ".join(parts))


def job_result(job: Document) -> list[str]:
    """Return what came of a job, one figure a line."""
    wide = max((len(name) for name in job["result"]), default=0)
    return [plain(f"{name:<{wide}}  {value}") for name, value in job["result"].items() if value is not None]


class _Progress:
    """A line that is drawn again on a terminal, and lines now and then elsewhere."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._terminal = draws(session.err)
        self._step = ""
        self._written_at = 0.0
        self._drawn = False
        self._total = self._first = self._since = 0.0

    def show(self, job: dict[str, Any]) -> None:
        if job["state"] in ("succeeded", "failed"):
            return
        line = job_progress(job) + self._speed(job)
        if self._terminal:
            self._session.err.write(f"{_ERASE}{cut(line, columns() - 1)}")
            self._session.err.flush()
            self._drawn = True
        elif job["message"] != self._step or time.monotonic() - self._written_at >= _EVERY:
            self._session.report(line)
            self._step, self._written_at = job["message"], time.monotonic()

    def _speed(self, job: dict[str, Any]) -> str:
        """Return the rate of work in bytes, and the time that is left at it; empty while there is none."""
        now, done, total = time.monotonic(), job.get("done") or 0.0, job.get("total") or 0.0
        if job.get("unit") != "bytes" or total != self._total or done < self._first:
            self._total, self._first, self._since = total, done, now
            return ""
        seconds = now - self._since
        rate = (done - self._first) / seconds if seconds >= _STEADY else 0.0
        return f", {size(rate)}/s, {span(float(round((total - done) / rate)))} left" if rate else ""

    def clear(self) -> None:
        if self._drawn:
            self._session.err.write(_ERASE)
            self._session.err.flush()
            self._drawn = False
