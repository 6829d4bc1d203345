"""Everything that the kinds of work of the component share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from aiidpd.components.backup.process.names import files_text
from aiidpd.components.backup.process.progress import Progress
from aiidpd.components.backup.process.protocol import Line, Orders, Request
from aiidpd.components.backup.record import BackupMemory
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.view import BackupView, RunProgress
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.jobs import Job
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat

_LONGEST_PAUSE: Final = 3600.0  # seconds


class Worker(Protocol):
    """Backup process, as the work uses it."""

    @property
    def stuck(self) -> int | None:
        """Pid of a process that hangs in the kernel, None where there is none."""

    async def call(
        self, request: Request, moved: Callable[[Progress], None], orders: Callable[[], Orders] = Orders
    ) -> Line:
        """Carry out ``request``; see :class:`aiidpd.components.backup.client.BackupProcess`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of work: figures, a sentence about them, and why it counts as failed, empty where it does not.

    ``stored`` is True where it has written contents.
    """

    figures: Mapping[str, Scalar]
    summary: str
    error: str = ""
    stored: bool = False

    def end(self, job: Job) -> None:
        """End the job whose work this was."""
        if self.error:
            job.fail(self.error, **self.figures, summary=self.summary)
        else:
            job.succeed(**self.figures, summary=self.summary)


@dataclass(slots=True)
class BackupTools:
    """Everything that work reads, and reports to. ``view`` is the present state, which ``put`` changes.

    ``loading`` returns the engine that loads a model just now, ``sending`` the snapshot that is sent
    elsewhere; empty for none. ``scratch`` is a folder of our own for drills. A file that was changed within
    ``settle`` seconds is not read yet.
    """

    settings: BackupSettings
    process: Worker
    latest: Latest[BackupView]
    publisher: Publisher
    memory: BackupMemory
    clock: Clock
    view: BackupView
    scratch: Path
    loading: Callable[[], str]
    sending: Callable[[], str]
    settle: float

    def put(self, **changes: Any) -> None:
        """Change the view."""
        self.view = replace(self.view, **changes)
        self.latest.put(self.view)

    def publish(
        self, kind: str, reason: str, evidence: dict[str, Scalar], severity: Severity = Severity.INFO
    ) -> None:
        """Publish an event about the source."""
        self.publisher.event(kind, reason, about=self.view.source, severity=severity, **evidence)

    async def call(self, job: Job, request: Request, heartbeat: Heartbeat) -> Line:
        """Carry out ``request`` for ``job``, which shows the progress; it waits while an engine loads."""
        began = self.clock.monotonic()

        def moved(progress: Progress) -> None:
            heartbeat.beat()
            message = progress.phase
            if progress.files:
                message += f" {progress.files_done} of {files_text(progress.files)}"
            if progress.paused:
                message += f", waiting: {progress.paused}"
            job.progress(message, progress.bytes_done, progress.bytes, "bytes")
            self.put(
                running=RunProgress(
                    request.kind,
                    progress.phase,
                    progress.files_done,
                    progress.files,
                    progress.bytes_done,
                    progress.bytes,
                    progress.paused,
                )
            )

        def orders() -> Orders:
            engine = self.loading() if self.settings.pause_while_loading else ""
            if not engine or self.clock.monotonic() - began > _LONGEST_PAUSE:
                return Orders()
            heartbeat.beat()
            return Orders(pause=f"{engine} loads a model")

        try:
            return await self.process.call(request, moved, orders)
        finally:
            self.put(running=None)
