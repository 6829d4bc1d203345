"""Metrics of the heals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.containers.heal.book import HealBook
from aiidpd.components.containers.heal.budget import left
from aiidpd.telemetry.family import CounterFamily, GaugeFamily


class HealsCollector(Collector):
    """Builds its families from the book alone."""

    def __init__(self, book: HealBook) -> None:
        self._book = book

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield what was done, and what is parked, suspended or being healed."""
        tally = self._book.tally
        heals = CounterFamily(
            "aiidpd_container_heals",
            "Heals that have ended, by their fault and outcome (healed within its grace, failed, gone, "
            "interrupted).",
            labels=["container", "fault", "outcome"],
        )
        for key, count in tally.heals.items():
            heals.add_metric([*key], count)
        seconds = CounterFamily(
            "aiidpd_container_heal_seconds",
            "For how long heals of the container took, from the decision to their outcome.",
            labels=["container"],
        )
        for name, value in tally.seconds.items():
            seconds.add_metric([name], value)
        parkings = CounterFamily(
            "aiidpd_container_heal_parkings",
            "Times that the container was parked: its budget was spent, or nothing could be done.",
            labels=["container", "fault"],
        )
        for pair, count in tally.parked.items():
            parkings.add_metric([*pair], count)
        yield from (heals, seconds, parkings, *self._now())

    def _now(self) -> Iterator[Metric]:
        state, observed = self._book.state, self._book.observed
        parked = GaugeFamily(
            "aiidpd_container_heal_parked",
            "1 for a container that is left alone until a person starts or unparks it.",
            labels=["container", "fault"],
        )
        healing = GaugeFamily(
            "aiidpd_container_healing",
            "1 for a container that is being healed now.",
            labels=["container", "fault"],
        )
        budget = GaugeFamily(
            "aiidpd_container_heal_budget_left",
            "Heals and ends that the container's budget still allows, where it may be healed.",
            labels=["container"],
        )
        suspended = GaugeFamily(
            "aiidpd_container_healing_suspended",
            "1 for a container that a person has taken out of healing.",
            labels=["container"],
        )
        for track in state.tracks.values():
            if track.parked is not None:
                parked.add_metric([track.name, track.parked.fault], 1)
            if track.heal is not None:
                healing.add_metric([track.name, track.heal.fault.type], 1)
            policy = None if observed is None else observed.policies.get(track.id)
            if policy is not None and policy.mode.acts:
                count = left(policy.budget, track.heals, track.deaths, self._book.now)
                budget.add_metric([track.name], count)
        for name in state.suspended:
            suspended.add_metric([name], 1)
        yield from (parked, healing, budget, suspended)
