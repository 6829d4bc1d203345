"""State of each endpoint (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from aiidpd.components.bench.drops import Drop
from aiidpd.components.bench.stats import BenchSample


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint. ``*_at`` in Unix seconds, ``probed`` in monotonic seconds.

    ``sample`` is the last one that succeeded, made at ``measured_at``; ``error`` is why the last
    probe failed, and is empty where it succeeded: then, and only then, ``sample`` is current. ``left_out`` is
    why no probe is made now by schedule, which is no failure.
    """

    name: str
    url: str
    model: str
    simulated: bool
    sample: BenchSample | None = None
    measured_at: float | None = None
    error: str = ""
    fault: str = ""
    """Label of ``error``; empty where the last probe succeeded, or failed for a reason without one."""
    failed_at: float | None = None
    probed: float | None = None
    probes: int = 0
    failures: int = 0
    left_out: str = ""
    dropped: str = ""
    """Why the last probe does not count, though it did not fail; empty where it counts."""
    drop: str = ""
    """Label of ``dropped``."""
    dropped_at: float | None = None
    drops: Mapping[str, int] = field(default_factory=dict)
    """Probes that did not count, by their labels."""

    @property
    def current(self) -> BenchSample | None:
        """Sample of the last probe, None where that failed or there was none."""
        return None if self.error else self.sample

    def measured(self, sample: BenchSample, at: float, now: float) -> EndpointView:
        """Return the view after a probe that succeeded."""
        return replace(
            self,
            sample=sample,
            measured_at=at,
            error="",
            fault="",
            probed=now,
            probes=self.probes + 1,
            left_out="",
            dropped="",
            drop="",
        )

    def dropped_for(self, label: Drop, reason: str, at: float, now: float) -> EndpointView:
        """Return the view after a probe that does not count: the sample before it, or the error, stays."""
        return replace(
            self,
            dropped=reason,
            drop=label.value,
            dropped_at=at,
            drops={**self.drops, label.value: self.drops.get(label.value, 0) + 1},
            probed=now,
            probes=self.probes + 1,
            left_out="",
        )

    def failed(self, error: str, at: float, now: float, fault: str = "") -> EndpointView:
        """Return the view after a probe that failed."""
        return replace(
            self,
            error=error,
            fault=fault,
            failed_at=at,
            probed=now,
            probes=self.probes + 1,
            failures=self.failures + 1,
            left_out="",
            dropped="",
            drop="",
        )


@dataclass(frozen=True, slots=True)
class BenchView:
    """Every endpoint, in the order of the configuration; ``note`` is why there is none."""

    endpoints: tuple[EndpointView, ...] = ()
    note: str = ""

    def endpoint(self, name: str) -> EndpointView | None:
        """Return the endpoint ``name``, None where there is no such."""
        return next((each for each in self.endpoints if each.name == name), None)

    def put(self, view: EndpointView) -> BenchView:
        """Return the view with ``view`` in the place of the one that has its name."""
        others = (view if each.name == view.name else each for each in self.endpoints)
        return replace(self, endpoints=tuple(others))

    def still_true(self, fresh: Iterable[EndpointView]) -> tuple[EndpointView, ...]:
        """Return ``fresh`` with what is known here of those that are the same in name, url and model."""
        found = []
        for each in fresh:
            known = self.endpoint(each.name)
            same = known is not None and (known.url, known.model, known.simulated) == (
                each.url,
                each.model,
                each.simulated,
            )
            found.append(known if known is not None and same else each)
        return tuple(found)

    def all_failed(self) -> str:
        """Return the errors of all endpoints as one line, empty unless each one's last probe failed."""
        if not self.endpoints or not all(each.error for each in self.endpoints):
            return ""
        return "; ".join(each.error for each in self.endpoints)
