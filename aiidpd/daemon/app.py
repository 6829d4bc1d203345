"""Life of the daemon: start, ready, reload, stop."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path
from typing import Final, TextIO

import anyio
import anyio.to_thread
from aiohttp import web

from aiidpd import __version__
from aiidpd.api.access import AccessPolicy
from aiidpd.api.route import Route
from aiidpd.api.server import ControlApi
from aiidpd.config.load import Loaded, describe, load
from aiidpd.config.reload import reload_plan
from aiidpd.config.schema import Settings
from aiidpd.daemon import api as daemon_api
from aiidpd.daemon.assembly import Assembly
from aiidpd.daemon.folders import HISTORY, refuse_unsafe_state
from aiidpd.daemon.groups import metrics_group
from aiidpd.daemon.metrics import BuildCollector, ConditionsCollector, WorkersCollector
from aiidpd.daemon.schema import SCHEMA
from aiidpd.daemon.settings import ControlSettings, DaemonSettings, TelemetrySettings
from aiidpd.history.conditions import SOURCE as HISTORY_SOURCE
from aiidpd.history.conditions import update_conditions
from aiidpd.history.settings import HistorySettings
from aiidpd.history.store import History
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock, SystemClock
from aiidpd.kernel.clock_watch import SOURCE as CLOCK
from aiidpd.kernel.clock_watch import ClockReporter, ClockWatch
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import AiidpdError
from aiidpd.kernel.errors import describe as in_words
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.supervisor import Supervisor
from aiidpd.kernel.task import WorkerStatus
from aiidpd.platform.connection import Limits
from aiidpd.platform.lock import StateLock
from aiidpd.platform.notify import Notifier
from aiidpd.platform.peercred import user_ids
from aiidpd.platform.sockets import UnixListener, listen_tcp, listen_unix
from aiidpd.platform.web import WebServer
from aiidpd.telemetry import logging
from aiidpd.telemetry.exposition import metrics_app
from aiidpd.telemetry.registry import build_registry

CONTROL: Final = "control.sock"
METRICS: Final = "metrics.sock"
_TICK = 1.0
_STOP_WITHIN = 4.0


class Daemon:
    """One running daemon, from ``loaded``; ``load`` reads the configuration again for a reload.

    What can prevent a start (the state folder, the database, the sockets) is taken in
    the constructor, which raises :class:`~aiidpd.kernel.errors.Misconfigured`; ``close`` releases it.
    """

    def __init__(
        self, loaded: Loaded, load: Callable[[], Loaded], notifier: Notifier, clock: Clock | None = None
    ) -> None:
        self._load = load
        self._notifier = notifier
        self._clock = clock or SystemClock()
        self._watch = ClockWatch(self._clock)
        self._started_at, self._started = self._clock.time(), self._clock.monotonic()
        self._reloading = anyio.Lock()
        self._reported = ""
        settings = loaded.settings
        folders = settings.table("daemon", DaemonSettings)
        control = settings.table("control", ControlSettings)
        telemetry = settings.table("telemetry", TelemetrySettings)
        runtime, group = folders.runtime_directory, control.group or None
        readers, address = metrics_group(telemetry.group, control.group) or None, telemetry.address
        refuse_unsafe_state(folders.state_directory)
        with ExitStack() as held:
            held.enter_context(StateLock.acquire(folders.state_directory))
            self._history = held.enter_context(closing(_open_history(settings, self._clock, self._watch)))
            self._control = held.enter_context(closing(listen_unix(runtime / CONTROL, group=group)))
            self._metrics = held.enter_context(closing(listen_unix(runtime / METRICS, group=readers)))
            self._tcp = held.enter_context(closing(listen_tcp(*address))) if address else None
            access = _access(settings, self._control)
            self._held = held.pop_all()
        self._bus = EventBus(self._history.last_event_id)
        self._bus.attach(events=logging.log_event)
        self._bus.attach(events=self._history.record_event, samples=self._history.record_sample)
        self._conditions = Conditions(self._clock, self._bus)
        self._clock_reporter = ClockReporter(
            self._watch, Publisher(self._bus, self._clock, CLOCK), self._conditions
        )
        self._publisher = Publisher(self._bus, self._clock, "daemon")
        self._history_publisher = Publisher(self._bus, self._clock, HISTORY_SOURCE)
        self._loaded = loaded
        self._assembly = Assembly(
            lambda: self._loaded.settings,
            clock=self._clock,
            bus=self._bus,
            conditions=self._conditions,
            history=self._history,
            state_directory=folders.state_directory,
            status=self._status_of,
        )
        interval = notifier.watchdog_interval
        self._supervisor = Supervisor(
            self._assembly.tasks,
            clock=self._clock,
            bus=self._bus,
            conditions=self._conditions,
            uniform=random.random,
            watchdog=notifier.watchdog,
            also=self._report_state,
            tick=_TICK if interval is None else min(_TICK, interval / 4),
        )
        self._api = ControlApi(
            self._routes(),
            access,
            version=__version__,
            publish=Publisher(self._bus, self._clock, "control"),
            streams=control.max_connections // 2,
        )

    def close(self) -> None:
        """Remove the sockets, write what is active and what the history holds, release the state folder."""
        self._assembly.close()
        self._held.close()

    def _status_of(self, name: str) -> WorkerStatus:
        return next(status for status in self._supervisor.statuses if status.name == name)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        async with AsyncExitStack() as servers:
            for server in self._servers():
                await servers.enter_async_context(server)
            async with anyio.create_task_group() as group:
                group.start_soon(self._obey_signals, group.cancel_scope)
                group.start_soon(self._supervisor.run)
                await self._become_ready()
            self._publish("daemon.stopped", "every worker has ended")

    async def _become_ready(self) -> None:
        self._publish("daemon.starting", f"aiidpd {__version__} starts", pid=os.getpid())
        timeout = self._loaded.settings.table("daemon", DaemonSettings).ready_timeout
        late = await self._supervisor.first_passes(timeout)
        took = self._clock.monotonic() - self._started
        reason = f"serves after {took:.2f} s"
        if late:
            reason += f"; without a first pass yet: {', '.join(late)}"
        self._publish("daemon.ready", reason, seconds=round(took, 3), late=", ".join(late))
        self._notifier.ready()
        await anyio.to_thread.run_sync(self._api.prepare)

    async def _obey_signals(self, everything: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number is not signal.SIGHUP:
                    _exit_within(_STOP_WITHIN)
                    self._notifier.stopping()
                    self._publish("daemon.stopping", f"received {number.name}")
                    everything.cancel()
                    return
                try:
                    await self.reload()
                except AiidpdError as error:
                    # Published by reload() already; a signal has nobody waiting for its answer.
                    self._notifier.status(f"reload refused: {in_words(error)}")

    async def reload(self) -> Sequence[str]:
        """Read the configuration again and follow all of it, or raise and follow none of it.

        Returns the keys that changed. Raises :class:`~aiidpd.kernel.errors.Misconfigured`.
        """
        async with self._reloading:
            self._notifier.reloading()
            try:
                return await self._follow()
            except AiidpdError as error:
                self._publish("config.refused", in_words(error), Severity.ERROR)
                raise
            finally:
                self._notifier.ready()

    async def _follow(self) -> Sequence[str]:
        new = await anyio.to_thread.run_sync(self._load)
        plan = reload_plan(new.schema, self._loaded.settings, new.settings)
        plan.refuse_partial()
        access = _access(new.settings, self._control)
        # From here on nothing fails: this is the moment at which the new configuration holds.
        self._loaded = new
        self._api.policy = access
        logging.set_level(new.settings.table("daemon", DaemonSettings).log_level)
        replaced = {name for table in plan.tables for name in new.schema.readers[table]}
        for name in replaced:
            for task in self._assembly.components[name].tasks:
                self._supervisor.replace(task.name)
        what = ", ".join(plan.changed) or "nothing changed"
        self._publish("config.reloaded", what, workers=", ".join(sorted(replaced)))
        return plan.changed

    def _report_state(self) -> None:
        """Report on the clock and the history, and on the workers to the service manager."""
        self._clock_reporter.report()
        update_conditions(self._history, self._history_publisher, self._conditions)
        text = summary(self._supervisor.statuses)
        if text != self._reported:
            self._notifier.status(text)
            self._reported = text

    def _routes(self) -> tuple[Route, ...]:
        own = daemon_api.routes(status=self._status, config_entries=self._config_entries, reload=self.reload)
        return own + self._assembly.routes

    def _config_entries(self) -> list[tuple[str, str, str]]:
        return [(key, value, str(origin)) for key, value, origin in describe(self._loaded)]

    def _status(self) -> daemon_api.StatusDocument:
        return daemon_api.status_document(
            version=__version__,
            now=self._clock.time(),
            started_at=self._started_at,
            uptime_seconds=self._clock.monotonic() - self._started,
            workers=self._supervisor.statuses,
            conditions=self._conditions.active(),
        )

    def _servers(self) -> Iterable[WebServer]:
        limits = Limits(connections=self._loaded.settings.table("control", ControlSettings).max_connections)
        control = self._api.application()
        yield WebServer(control, [self._control.socket], limits=limits, on_failure=self._api.failed)
        collectors = {
            "workers": WorkersCollector(lambda: self._supervisor.statuses),
            "conditions": ConditionsCollector(self._conditions.active),
            "build": BuildCollector(__version__),
            **self._assembly.collectors,
        }
        hosts = self._loaded.settings.table("telemetry", TelemetrySettings).hosts
        metrics = metrics_app(build_registry(collectors, self._collector_failed), hosts)
        listeners = [self._metrics.socket] + ([self._tcp] if self._tcp else [])
        yield WebServer(metrics, listeners, limits=limits, on_failure=self._page_failed)

    def _page_failed(self, request: web.Request, error: Exception) -> None:
        what = f"cannot answer {request.method} {request.path}: {in_words(error)}"
        self._publish("metrics.failed", what, Severity.ERROR)

    def _collector_failed(self, name: str, error: Exception) -> None:
        what = f"cannot collect the metrics of {name}: {in_words(error)}"
        self._publish("metrics.failed", what, Severity.ERROR)

    def _publish(
        self, kind: str, reason: str, severity: Severity = Severity.INFO, **evidence: Scalar
    ) -> None:
        self._publisher.event(kind, reason, about="", severity=severity, **evidence)


def serve(
    config: Path | None,
    environ: Mapping[str, str],
    log_to: TextIO | None = None,
    clock: Clock | None = None,
) -> None:
    """Run a daemon as ``config`` and ``environ`` configure it until a signal stops it.

    The log goes to ``log_to``, standard error by default; the time comes from ``clock``, the machine's own
    by default. Raises
    :class:`~aiidpd.kernel.errors.Misconfigured` where it can't start.
    """

    def read() -> Loaded:
        return load(SCHEMA, config, environ)

    loaded = read()
    settings = loaded.settings.table("daemon", DaemonSettings)
    with closing(logging.configure(settings.log_level, settings.log_format, log_to)):
        daemon = Daemon(loaded, read, Notifier.from_environment(environ), clock)
        # What a start made stays: later collections need not traverse it, and pause the loop for less.
        gc.freeze()
        gc.enable()
        with closing(daemon):
            anyio.run(daemon.run)


def _exit_within(seconds: float) -> None:
    """End the process after ``seconds`` even where a thread hangs in a call that nothing can interrupt.

    Everything on disk is written so that it may end at any moment.
    """

    def give_up() -> None:
        os.write(2, b"aiidpd: something hangs and would not end; left without it\n")
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()


def summary(statuses: Sequence[WorkerStatus]) -> str:
    """Return one line on how the workers fare, for the service manager."""
    words = []
    for status in statuses:
        mark = " (SIMULATED)" if status.simulated else ""
        reason = f": {status.reason}" if status.reason else ""
        words.append(f"{status.name} {status.state}{mark}{reason}")
    return "; ".join(words)


def _open_history(settings: Settings, clock: Clock, watch: ClockWatch) -> History:
    path = settings.table("daemon", DaemonSettings).state_directory / HISTORY
    history = settings.table("history", HistorySettings)
    return History.open(path, keep=history.keep, max_bytes=history.max_size, clock=clock, watch=watch)


def _access(settings: Settings, control: UnixListener) -> AccessPolicy:
    admins = user_ids(settings.table("control", ControlSettings).admins, key="control.admins")
    return AccessPolicy(owner=os.geteuid(), readers=control.gid, admins=admins)
