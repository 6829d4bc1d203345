"""One load: starts the process that measures, shows how far it is, and gives the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from aiidpd.api.client import ControlClient, ControlError
from aiidpd.components.bench.accept.limits import Machine
from aiidpd.components.bench.accept.machine import Given, machine_of
from aiidpd.components.bench.accept.watching import LoadWatch, others
from aiidpd.components.bench.apart import Child, child
from aiidpd.components.bench.given import NotUsable, is_local
from aiidpd.components.bench.load import report
from aiidpd.components.bench.load.ceiling import Ceiling, ceiling_of
from aiidpd.components.bench.load.plan import Plan
from aiidpd.components.bench.load.report import LoadReport

MODULE: Final = "aiidpd.components.bench.load.process"
_EVERY: Final = 1.0  # seconds between two readings of the daemon, at least
_READINGS: Final = 600  # of a level

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Request of one load. ``connect`` opens a client of the daemon, None where none is to be asked for."""

    plan: Plan
    given: Given = field(default_factory=Given)
    connect: Callable[[], ControlClient] | None = None


def run_load(asked: LoadRequest, follow: Callable[[Line], None]) -> LoadReport:
    """Measure, and return the report; ``follow`` gets each line of the process. Blocks.

    An interruption ends the load, and what came until then is the report. Raises :class:`NotUsable`.
    """
    begun = time.monotonic()
    notes = _notes(asked)
    watch = _Watch(asked)

    def followed(line: Line) -> None:
        watch.follow(line)
        follow(line)

    try:
        found, problem = _measured(asked.plan, followed)
    finally:
        watch.stop()
    machine = _machine(asked, found.get("described", {}))
    ceilings = [_ceiling(machine, each) for each in found.get("levels", ())]
    return LoadReport(
        plan=_shown(asked.plan),
        found=found,
        ceilings=tuple(ceilings),
        seconds=time.monotonic() - begun,
        notes=(*notes, *machine.notes, *found.get("notes", ())),
        problem=problem,
        no_ceiling="" if any(ceilings) else machine.reason,
        gpu_utilization=watch.utilization,
        out_of_memory=watch.out_of_memory,
    )


class _Watch:
    """Machine under load as the daemon sees it, where that runs here and the server too."""

    def __init__(self, asked: LoadRequest) -> None:
        self._watch: LoadWatch | None = None
        if asked.connect is not None and is_local(asked.plan.url):
            every = max(_EVERY, asked.plan.seconds / _READINGS)
            self._watch = LoadWatch(asked.connect, every=every)
        self._started = False

    def follow(self, line: Line) -> None:
        """Begin with the first request under load."""
        if self._watch is not None and not self._started and "progress" in line:
            self._started = True
            self._watch.start()

    def stop(self) -> None:
        if self._watch is not None and self._started:
            self._watch.stop()

    @property
    def utilization(self) -> float | None:
        """Mean of the GPU that was used most, None where it is not known."""
        return self._watch.utilization().value if self._watch is not None else None

    @property
    def out_of_memory(self) -> int | None:
        """Processes that were killed or failed for lack of memory meanwhile, None where it is not known."""
        found = self._watch.out_of_memory().value if self._watch is not None else None
        return None if found is None else round(found)


def _measured(plan: Plan, follow: Callable[[Line], None]) -> tuple[dict[str, Any], str]:
    """Return what the process measured, or why it measured nothing."""
    with child(MODULE, asdict(plan)) as process:
        try:
            return _followed(process, follow)
        except KeyboardInterrupt:
            follow({"words": "interrupted: what came until now follows; once more ends it at once"})
            process.stop()
            return _followed(process, follow)


def _followed(process: Child, follow: Callable[[Line], None]) -> tuple[dict[str, Any], str]:
    for line in process.lines():
        if "measurement" in line:
            return line["measurement"], ""
        if "error" in line:
            if line["usage"]:
                raise NotUsable(line["error"])
            return {}, line["error"]
        follow(line)
    return {}, process.ended


def _ceiling(machine: Machine, level: Mapping[str, Any]) -> Ceiling | None:
    return ceiling_of(machine, level["on_wire"])


def _machine(asked: LoadRequest, described: Mapping[str, Any]) -> Machine:
    local = is_local(asked.plan.url)
    if not described:
        return Machine(reason="nothing was measured")
    if asked.given.weights is None and not described.get("weights"):
        return Machine(reason="the weights are not known: give --weights such as 4.58GiB")
    if asked.connect is None:
        return machine_of(asked.given, described, None, local=local)
    with asked.connect() as client:
        return machine_of(asked.given, described, client, local=local)


def _notes(asked: LoadRequest) -> tuple[str, ...]:
    """Return what else the server is used for, as far as the daemon sees it."""
    if asked.connect is None:
        return ()
    url = asked.plan.url.rstrip("/")
    with suppress(ControlError), asked.connect() as client:
        endpoints = client.get("/v1/bench/results")["endpoints"]
        ours = [each["name"] for each in endpoints if each["url"].rstrip("/") == url]
        probed = [f"the daemon measures it too, as {ours[0]}: its requests are among these"] if ours else []
        return (*others(client, asked.plan.url), *probed)
    return ()


def _shown(plan: Plan) -> report.ShownPlan:
    return report.ShownPlan(
        plan.url,
        plan.workload,
        plan.seconds,
        plan.warm_up,
        plan.seed,
        plan.ramp,
        plan.ttft_limit,
        plan.tpot_limit,
    )
