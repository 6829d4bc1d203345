"""A bench for alerts: readings go in, transitions come out; time is counted, never waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from aiidpd.alerts.rule import by_name
from aiidpd.alerts.state import Alert, Change, Key, Stage, Transition, step
from aiidpd.components.thermal.alerts.evaluate import Memory, evaluate, evaluate_failure
from aiidpd.components.thermal.alerts.rules import rules
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.forecast.forecast import USUAL_FORECAST, Forecast, ForecastPolicy
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.components.thermal.signals.validate import Sensors, validate
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.kernel.errors import Unavailable
from tests.believed import USUAL

UUID = "GPU-0"
COOL = GpuReading(
    0,
    UUID,
    "card",
    temperature_celsius=60.0,
    power_watts=200.0,
    power_limit_watts=300.0,
    fan_ratio=0.5,
    utilisation_ratio=0.9,
    slowdown_celsius=97.0,
    shutdown_celsius=100.0,
)


class Bench:
    """The evaluation of readings that lie ``period`` seconds apart."""

    def __init__(
        self,
        settings: GpuSettings = USUAL,
        period: float = 1.0,
        forecasting: ForecastPolicy = USUAL_FORECAST,
    ) -> None:
        self.settings = settings
        self.forecasting = forecasting
        self.rules = by_name(rules(settings.alerts))
        self.period = period
        self.now = 0.0
        self.sensors = Sensors()
        self.memory = Memory()
        self.alerts: Mapping[Key, Alert] = {}
        self.transitions: list[tuple[float, Transition]] = []
        self.forecasts: tuple[Forecast, ...] = ()

    def see(self, *gpus: GpuReading, faults: Iterable[GpuFault] = (), xids: Iterable[XidEvent] = ()) -> None:
        """Take one reading of ``gpus``."""
        snapshot = GpuSnapshot(gpus, "580", simulated=False, faults=tuple(faults), xids=tuple(xids))
        self.take(snapshot)

    def take(self, snapshot: GpuSnapshot) -> CheckedSnapshot:
        """Take one snapshot; return it validated."""
        now = self.now
        self.sensors, checked = validate(self.sensors, snapshot, now, now, self.settings)
        self.memory, observed, self.forecasts = evaluate(
            self.memory, checked, self.settings, self.forecasting
        )
        self._step(observed)
        return checked

    def miss(self, error: Unavailable, *xids: XidEvent) -> None:
        """Take a pass that could read nothing."""
        self.memory, observed = evaluate_failure(self.memory, error, xids, self.now)
        self._step(observed)

    def run(self, seconds: float, **figures: Any) -> None:
        """See one GPU with ``figures`` for ``seconds``."""
        until = self.now + seconds
        while self.now < until:
            self.see(replace(COOL, **figures))

    def _step(self, observed: Any) -> None:
        self.alerts, transitions = step(self.alerts, observed, self.now, self.rules)
        for each in transitions:
            assert each.reason  # that every summary finds its evidence
            self.transitions.append((self.now, each))
        self.now += self.period

    @property
    def firing(self) -> set[str]:
        return {name for (name, _), alert in self.alerts.items() if alert.stage is Stage.FIRING}

    def changes(self, alert: str) -> list[Change]:
        """Return what became of ``alert``, in order."""
        return [each.change for _, each in self.transitions if each.rule.name == alert]

    def changes_fired(self) -> set[str]:
        """Return every alert that ever fired."""
        return {each.rule.name for _, each in self.transitions if each.change is Change.FIRING}

    def fired_at(self, alert: str) -> float:
        """Return when ``alert`` first fired."""
        return next(
            at for at, each in self.transitions if each.rule.name == alert and each.change is Change.FIRING
        )

    def reason(self, alert: str) -> str:
        """Return the last reason that was given for ``alert``."""
        return next(each.reason for _, each in reversed(self.transitions) if each.rule.name == alert)
