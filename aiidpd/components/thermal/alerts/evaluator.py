"""Alert evaluator: evaluates the rules on each snapshot, publishes forecasts, and saves the baselines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from aiidpd.alerts.manager import AlertClient
from aiidpd.components.thermal.alerts.evaluate import Memory, evaluate, evaluate_failure
from aiidpd.components.thermal.alerts.restored import vanished, with_restored
from aiidpd.components.thermal.forecast.baseline import Baselines, from_baselines, to_baselines
from aiidpd.components.thermal.forecast.forecast import Forecast
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Severity
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.platform.statefile import StateFile

_SAVE_EVERY = 600.0  # seconds: baselines are learnt over days, and may lose so much


@dataclass(slots=True)
class EvaluatorMemory:
    """Memory that outlives the worker: made once, handed to each evaluator.

    ``unread`` is why the baselines of ``file`` could not be read, until it is written anew; ``reported`` is
    the problem that was published last.
    """

    forecasts: Latest[tuple[Forecast, ...]]
    file: StateFile[Baselines]
    memory: Memory = field(default_factory=Memory)
    loaded: bool = False
    saved_at: float = 0.0
    unread: str = ""
    reported: str = ""

    @property
    def problem(self) -> str:
        """Last failure of the file, as a sentence; empty where there was none."""
        failed = self.file.problem
        return f"{failed}; what was learnt ends with the daemon" if failed else self.unread

    def load(self) -> None:
        """Restore the baselines that the last daemon saved. Blocks."""
        self.loaded = True
        found, unread = self.file.load_or_set_aside()
        self.unread = f"{unread}; baselines are learnt anew" if unread else ""
        if found is not None:
            self.memory = replace(self.memory, baselines=from_baselines(found))


class AlertEvaluator:
    """Evaluates the alert rules on each snapshot. One per run of the worker; loads baselines first."""

    def __init__(
        self,
        settings: GpuSettings,
        memory: EvaluatorMemory,
        *,
        alerts: AlertClient,
        publish: Publisher,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._alerts = alerts
        self._publish = publish
        self._clock = clock
        restored = alerts.restored
        if restored:
            memory.memory = with_restored(memory.memory, restored)

    def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
        """Evaluate the rules on ``snapshot``, and publish what changed."""
        memory, now = self._memory, snapshot.now
        if not memory.loaded:
            memory.saved_at = now
            memory.load()
        memory.memory, observed, forecasts = evaluate(memory.memory, snapshot, self._settings)
        memory.forecasts.put(forecasts)
        self._alerts.observe(observed, simulated=snapshot.simulated)
        gone = vanished(self._alerts.restored, snapshot, memory.memory)
        if gone:
            self._alerts.withdraw(gone, "the driver no longer lists that GPU")
        if now - memory.saved_at >= _SAVE_EVERY:
            self.save()
        if memory.problem != memory.reported:
            memory.reported = memory.problem
            if memory.reported:
                self._publish.event("gpu.baselines_failed", memory.reported, severity=Severity.WARNING)

    def on_failure(self, error: Unavailable, xids: Iterable[XidEvent], *, simulated: bool) -> None:
        """Handle a pass that read nothing but ``xids``: some alerts are known all the same."""
        memory = self._memory
        memory.forecasts.clear()
        memory.memory, observed = evaluate_failure(memory.memory, error, xids, self._clock.monotonic())
        self._alerts.observe(observed, simulated=simulated)

    def on_release(self) -> None:
        """Handle a pass in which the driver is released: nothing is known of any alert."""
        self._memory.forecasts.clear()
        self._alerts.observe(())

    def save(self) -> None:
        """Save the baselines, in the background; those of simulated GPUs are not saved."""
        self._memory.saved_at = self._clock.monotonic()
        if self._memory.loaded and self._memory.memory.simulated is False:
            self._memory.unread = ""
            self._memory.file.save_soon(to_baselines(self._memory.memory.baselines))
