"""``aiidpctl bench accept``: criteria of acceptance, checked against a server."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, NoReturn

from aiidpd.api.client import ControlClient, ControlError
from aiidpd.cli.session import DONE, FAILED, USAGE, Session
from aiidpd.components.bench.accept.machine import Given, UnknownGpu
from aiidpd.components.bench.accept.report import Report
from aiidpd.components.bench.accept.report_text import junit, markdown, text_lines
from aiidpd.components.bench.accept.runner import Asked, NotUsable, accept, read_profile

_KEY_LIMIT: Final = 8192


def run(options: argparse.Namespace, session: Session) -> int:
    """Check the criteria, write the reports, and return whether all were met."""
    url, model = options.target, options.model
    if options.endpoint is not None:
        url, model = endpoint(session, options.endpoint, model)
    if options.draft_accepted < 1:
        _refuse("--draft-accepted is 1 or more: a step yields a token at least")
    try:
        asked = Asked(
            url=url,
            profile=read_profile(options.profile),
            model=model,
            engine=options.engine,
            api_key=_key(options.api_key_file),
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
        _refuse(str(error))
    _write(options, report)
    if session.json:
        session.document(report.document())
    else:
        session.data(text_lines(report, session.paint))
    return DONE if report.accepted else FAILED


def endpoint(session: Session, name: str, model: str) -> tuple[str, str]:
    """Return URL and model of one of the daemon's endpoints, ``model`` where it is not empty."""
    endpoints = session.client.get("/v1/bench/results")["endpoints"]
    found = next((each for each in endpoints if each["name"] == name), None)
    if found is None:
        known = ", ".join(each["name"] for each in endpoints) or "none"
        _refuse(f"there is no endpoint {name}: known are {known}")
    if found["simulated"]:
        _refuse(f"endpoint {name} is simulated: there is no server to accept")
    return found["url"], model or found["model"]


def _key(path: str | None) -> str:
    if path is None:
        return ""
    try:
        with Path(path).open(encoding="ascii") as file:
            key = file.read(_KEY_LIMIT).strip()
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or "it is no text").lower()
        raise NotUsable(f"cannot read {path}: {why}") from None
    if not key.isprintable():
        raise NotUsable(f"cannot use the key in {path}: a header can't hold it")
    return key


def _write(options: argparse.Namespace, report: Report) -> None:
    for path, words in ((options.junit, junit), (options.markdown, markdown)):
        if path is None:
            continue
        try:
            Path(path).write_text(words(report), encoding="utf-8")
        except OSError as error:
            _refuse(f"cannot write {path}: {(error.strerror or 'error').lower()}")


class _Refused(ControlError):
    """An acceptance that can't be tried with what was given."""

    exit_code = USAGE


def _refuse(words: str) -> NoReturn:
    raise _Refused(words) from None
