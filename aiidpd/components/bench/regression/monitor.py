"""Monitor of regressions: takes each good sample, remembers baselines over restarts, reports what shifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiidpd.components.bench.regression.conditions import update_conditions, update_state
from aiidpd.components.bench.regression.record import (
    FIGURES,
    BenchRecords,
    Track,
    probed,
    track_for,
    with_new_baseline,
)
from aiidpd.components.bench.regression.words import changed_words, shift_words
from aiidpd.components.bench.view import EndpointView
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Conflict, Invalid, NotFound
from aiidpd.kernel.events import Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.platform.statefile import StateFile
from aiidpd.platform.thread import in_daemon_thread

_SAVE_EVERY: Final = 60.0  # seconds between two saves while nothing but samples is new


class RegressionMonitor:
    """Watches the figures of endpoints, over the runs of the task that probes them."""

    def __init__(
        self,
        file: StateFile[BenchRecords],
        *,
        publish: Publisher,
        conditions: Conditions,
        clock: Clock,
    ) -> None:
        self._file = file
        self._publisher = publish
        self._conditions = conditions
        self._clock = clock
        self._records = BenchRecords()
        self._endpoints: Sequence[EndpointView] = ()
        self._loaded = False
        self._unreadable = ""
        self._saved: float | None = None
        self._unsaved = False

    async def begin(self, endpoints: Sequence[EndpointView]) -> None:
        """Watch these ``endpoints``, with the baselines that an earlier daemon left."""
        if not self._loaded:
            found, self._unreadable = await in_daemon_thread(self._file.load_or_set_aside)
            self._records = found or self._records
            self._loaded = True
        self._endpoints = endpoints
        self._update()

    def tracks(self) -> list[tuple[EndpointView, Track | None]]:
        """Return each endpoint that is watched with its track, None before its first good probe."""
        return [(each, self._records.track(each.name, each.model)) for each in self._endpoints]

    def measured(self, endpoint: EndpointView) -> None:
        """Take the last sample of ``endpoint``, where it is a good and usual one."""
        sample = endpoint.current
        if sample is None or endpoint.measured_at is None or not sample.usual:
            return
        given = {name: getattr(sample, name) for name in FIGURES}
        figures = {name: value for name, value in given.items() if value is not None}
        before = track_for(self._records, endpoint.name, endpoint.model, sample.gpu)
        track = probed(before, endpoint.measured_at, figures, sample.circumstances)
        self._records = self._records.put(track)
        shifted = self._publish(endpoint, before, track)
        self._save(soon=not shifted)
        self._update()

    def rebaseline(self, name: str, figure: str | None, reason: str, by: str) -> Track:
        """Have the baselines of an endpoint, or that of one ``figure``, learned anew; return its track.

        Raises :class:`NotFound`, :class:`Conflict`, and :class:`Invalid` without a reason.
        """
        if not reason.strip():
            action, remedy = "learn the baseline anew of", "say why another speed is the usual one now"
            raise Invalid(action, name, reason="no reason was given", remedy=remedy)
        endpoint, track = self._find(name)
        figures = frozenset(FIGURES if figure is None else {figure})
        track = with_new_baseline(track, figures)
        self._records = self._records.put(track)
        self._publisher.marked(simulated=endpoint.simulated).event(
            "bench.rebaselined",
            f"baseline of {', '.join(sorted(figures))} is learned anew: {reason}",
            about=name,
            severity=Severity.INFO,
            model=track.model,
            by=by,
        )
        self._save(soon=False)
        self._update()
        return track

    def close(self, seconds: float) -> None:
        """Wait until all is on the disk, at most ``seconds``. Blocks."""
        if self._unsaved:
            self._file.save_soon(self._records)
        self._file.wait(seconds)

    def _find(self, name: str) -> tuple[EndpointView, Track]:
        for endpoint, track in self.tracks():
            if endpoint.name == name:
                if track is None:
                    raise Conflict(
                        "learn the baseline anew of",
                        name,
                        reason="no probe of it was good yet",
                        remedy=f"`aiidpctl bench run --endpoint {name}` probes it",
                    )
                return endpoint, track
        known = ", ".join(each.name for each in self._endpoints) or "none"
        raise NotFound(
            "learn the baseline anew of",
            name,
            reason="there is no such endpoint",
            remedy=f"known are: {known}",
        )

    def _publish(self, endpoint: EndpointView, before: Track, now: Track) -> bool:
        """Publish the figures that shifted, or are back; return whether there are any."""
        publish = self._publisher.marked(simulated=endpoint.simulated)
        found = False
        for name, state in now.figures.items():
            old = before.figures.get(name)
            was = old.status if old else "learning"
            if was == state.status:
                continue
            found = True
            if state.status in ("regressed", "improved") and state.shift is not None:
                shift, changed = state.shift, now.changed.get(name, ())
                publish.event(
                    "bench.regressed" if state.status == "regressed" else "bench.improved",
                    f"{shift_words(name, shift)}; changed with it: {changed_words(changed)}",
                    about=endpoint.name,
                    severity=Severity.WARNING if state.status == "regressed" else Severity.INFO,
                    model=now.model,
                    gpu=now.gpu,
                    figure=name,
                    ratio=shift.ratio,
                    ratio_low=shift.ratio_low,
                    ratio_high=shift.ratio_high,
                    confidence=shift.confidence,
                    onset=shift.onset,
                    shape=shift.shape,
                    **{
                        f"changed.{each.name}": f"{each.before} -> {each.after}" for each in now.changed[name]
                    },
                )
            elif was in ("regressed", "improved"):
                publish.event(
                    "bench.back",
                    f"{name} is back at its baseline",
                    about=endpoint.name,
                    severity=Severity.INFO,
                    model=now.model,
                    figure=name,
                )
        return found

    def _save(self, *, soon: bool) -> None:
        now = self._clock.monotonic()
        self._unsaved = True
        if soon and self._saved is not None and now - self._saved < _SAVE_EVERY:
            return
        self._file.save_soon(self._records)
        self._saved, self._unsaved, self._unreadable = now, False, ""

    def _update(self) -> None:
        tracks = [track for _, track in self.tracks() if track is not None]
        simulated = frozenset(each.name for each in self._endpoints if each.simulated)
        update_conditions(self._conditions, tracks, simulated)
        update_state(self._conditions, str(self._file.path), self._file.problem or self._unreadable)
