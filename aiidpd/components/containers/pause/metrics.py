"""Metrics of the containers that aiidpd pauses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.containers.pause.controller import Pauses
from aiidpd.telemetry.family import CounterFamily, GaugeFamily


class PausesCollector(Collector):
    """Builds its families from ``pauses`` alone."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        tally, held_now = self._pauses.tally, self._pauses.state.held
        held = GaugeFamily(
            "aiidpd_container_backing_off",
            "1 for a container that aiidpd has paused because a GPU is too hot.",
            labels=["container"],
        )
        for view in self._pauses.active():
            held.add_metric([view.name], 1)
        yield held
        yield GaugeFamily(
            "aiidpd_container_leased_pauses",
            "Containers that may be paused by aiidpd now.",
            value=len(held_now),
        )
        for family, counts in (
            (
                CounterFamily(
                    "aiidpd_container_back_off_pauses",
                    "Times that aiidpd paused the container because a GPU was too hot.",
                    labels=["container"],
                ),
                tally.pauses,
            ),
            (
                CounterFamily(
                    "aiidpd_container_back_off_seconds",
                    "For how long aiidpd had paused the container, counted when it is resumed.",
                    labels=["container"],
                ),
                tally.seconds,
            ),
            (
                CounterFamily(
                    "aiidpd_container_back_off_failures",
                    "Times that the engine did not pause the container, or not resume it when it should "
                    "have.",
                    labels=["container"],
                ),
                tally.failures,
            ),
        ):
            for container, value in counts.items():
                family.add_metric([container], value)
            yield family
