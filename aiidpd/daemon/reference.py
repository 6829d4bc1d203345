"""Reference documents, read off a daemon that does not run (``python -m aiidpd.daemon.reference``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiidpd.alerts.rule import table as alerts_table
from aiidpd.api import openapi
from aiidpd.api.route import Route
from aiidpd.components.audit.rules.all import table as audit_table
from aiidpd.components.thermal.alerts.rules import rules
from aiidpd.components.thermal.settings import AlertSettings
from aiidpd.config.document import example_file, page
from aiidpd.daemon import api as daemon_api
from aiidpd.daemon.assembly import Assembly
from aiidpd.daemon.schema import SCHEMA
from aiidpd.history.settings import HistorySettings
from aiidpd.history.store import History
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.task import WorkerStatus


@contextmanager
def assembled() -> Iterator[Assembly]:
    """Yield every component, built on the default configuration in a folder of its own."""
    settings, clock = SCHEMA.settings(), SystemClock()
    bus = EventBus()
    with TemporaryDirectory() as folder:
        state = Path(folder)
        history = History.open(
            state / "history.sqlite3", keep=HistorySettings().keep, max_bytes=2**24, clock=clock
        )
        with closing(history):
            yield Assembly(
                lambda: settings,
                clock=clock,
                bus=bus,
                conditions=Conditions(clock, bus),
                history=history,
                state_directory=state,
                status=WorkerStatus,
            )


def every_route() -> tuple[Route, ...]:
    """Return every route of the daemon, for its description: they must not be called."""

    async def reload() -> tuple[str, ...]:
        return ()

    def status() -> daemon_api.StatusDocument:
        raise RuntimeError("the reference describes routes and calls none")

    with assembled() as assembly:
        own = daemon_api.routes(status=status, config_entries=tuple, reload=reload)
        return own + assembly.routes


def with_table(text: str, table: str) -> str:
    """Return ``text`` with its Markdown table that has the same head as ``table`` replaced by that.

    Raises ValueError where ``text`` has no such table.
    """
    head = table.partition("\n")[0]
    before, found, rest = text.partition(f"\n{head}\n")
    if not found:
        raise ValueError(f"there is no table with the head {head}")
    _, end, after = rest.partition("\n\n")
    return f"{before}\n{table.rstrip()}{end or chr(10)}{after}"


def documents() -> dict[str, Callable[[str], str]]:
    """Return what makes each document that is derived from the code, from what it is now."""
    routes, alerts = openapi.table(every_route()), alerts_table(rules(AlertSettings()))
    return {
        "etc/aiidpd.toml": lambda _: example_file(SCHEMA),
        "docs/configuration.md": lambda _: page(SCHEMA),
        "docs/control.md": lambda text: with_table(text, routes),
        "docs/alerts.md": lambda text: with_table(text, alerts),
        "docs/audit.md": lambda text: with_table(text, audit_table()),
    }


def main(root: Path) -> None:
    """Write the documents that are derived from the code, below ``root``."""
    for name, make in documents().items():
        path = root / name
        path.write_text(make(path.read_text()))


if __name__ == "__main__":
    main(Path.cwd())
