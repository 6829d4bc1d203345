"""Reads off a daemon that does not run what the reference documents say of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiidpd.api.route import Route
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


def main(root: Path) -> None:
    """Write the documents that are derived from the code, below ``root``."""
    (root / "etc" / "aiidpd.toml").write_text(example_file(SCHEMA))
    (root / "docs" / "configuration.md").write_text(page(SCHEMA))


if __name__ == "__main__":
    main(Path.cwd())
