"""``aiidpctl alerts``: what fires or is about to."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from aiidpd.cli.session import DONE, Session
from aiidpd.cli.text import SIMULATED, Document, Paint, plain, since, span


def add(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its options."""
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace, session: Session) -> int:
    """Show the alerts."""
    document = session.client.get("/v1/alerts")
    if session.json:
        session.document(document)
        return DONE
    session.data(alert_lines(document["alerts"], time.time(), session.paint))
    if not document["alerts"]:
        session.report("no alert fires or is pending")
    return DONE


def _title(alert: Document) -> str:
    """Return the name of ``alert``, with its subject where no rule has that in its summary."""
    return f"{alert['name']} {alert['subject']}" if alert["name"].islower() else str(alert["name"])


def alert_lines(alerts: Iterable[Document], now: float, paint: Paint) -> list[str]:
    """Return each alert with what it is, and under it what to do about it."""
    lines = []
    for alert in alerts:
        words = [f"{alert['severity']:<8} {alert['stage']:<8} {_title(alert)}: {alert['summary']}"]
        words.append(f"(for {span(max(0.0, now - alert['since']))})")
        if alert["condition"] == "unknown":
            words.append(f"(last known {since(alert['known_at'], now)})")
        if alert["restored"]:
            words.append("(from before the restart)")
        if alert["simulated"]:
            words.append(SIMULATED)
        text = plain(" ".join(words))
        grave = paint.bad if alert["severity"] == "error" else paint.warn
        lines.append(grave(text) if alert["stage"] == "firing" else text)
        advice = "; ".join(filter(None, (alert["remedy"], alert["runbook"])))
        if advice:
            lines.append(paint.dim(plain(f"{'':<17} {advice}")))
    return lines
