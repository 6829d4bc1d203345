"""Report of one load, as a document (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aiidpd.components.bench.accept.figures import Failure, memory_failures
from aiidpd.components.bench.load.ceiling import Ceiling
from aiidpd.components.bench.load.ramp import GOOD_SHARE


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """Plan of a load, as far as a report shows it; ``rate`` is None for a closed loop."""

    url: str
    workload: str
    seconds: float
    warm_up: float
    seed: int
    ramp: bool
    ttft_limit: float | None
    tpot_limit: float | None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Levels or depths that were measured, each level with the ceiling for as many requests at once.

    ``found`` is the document of the process that measured; ``problem`` why nothing was measured, else empty.
    """

    plan: ShownPlan
    found: Mapping[str, Any]
    ceilings: tuple[Ceiling | None, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    problem: str = ""
    no_ceiling: str = ""
    gpu_utilization: float | None = None
    """Mean share of the GPU that was used most; None where no daemon saw it."""
    out_of_memory: int | None = None
    """Processes that were killed or failed for lack of memory meanwhile; None where no daemon saw it."""

    @property
    def levels(self) -> list[Mapping[str, Any]]:
        """Return the levels in the order in which they were measured."""
        return list(self.found.get("levels", ()))

    @property
    def depths(self) -> list[Mapping[str, Any]]:
        """Return the speeds by depth."""
        return list(self.found.get("depths", ()))

    @property
    def interrupted(self) -> bool:
        """Return whether somebody ended it before its end."""
        return bool(self.found.get("interrupted"))

    def output(self, place: int) -> tuple[float | None, str]:
        """Return the output of the level at ``place`` in tokens a second, or why that is no figure."""
        level, ceiling = self.levels[place], self.ceilings[place] if self.ceilings else None
        value = level["figures"]["output_tokens_per_second"]
        if value is None or ceiling is None or not ceiling.certain or value <= ceiling.tokens_per_second:
            return value, ""
        most = f"{ceiling.tokens_per_second:.4g} tok/s = {ceiling.arithmetic}"
        return None, f"{value:.4g} tok/s is more than {most} allow: weights or memory are not what was given"

    @property
    def outcome(self) -> str:
        """Return why this is no good result, empty where it is one."""
        if self.problem:
            return self.problem
        if self.depths:
            bad = [each["reason"] for each in self.depths if each["output_tokens_per_second"] is None]
            return bad[0] if len(bad) == len(self.depths) else ""
        return self._outcome() if self.levels else "nothing was measured"

    def _outcome(self) -> str:
        if self.out_of_memory:
            return f"{self.out_of_memory} processes ended for lack of memory: see aiidpctl events"
        said = [each for level in self.levels for each in level["figures"]["reasons"].values()]
        if memory_failures(Failure("", each) for each in said):
            return "the server ran out of memory, as its own answers say"
        knee = self.found.get("knee")
        if knee is not None:
            return "" if knee["load"] is not None else knee["reason"]
        level = self.levels[-1]
        figures = level["figures"]
        reasons = [level["hopeless"], level["invalid"], level["saturated"]]
        if not figures["answered"]:
            reasons.append("no request was answered within the time")
        elif figures["answered_share"] < GOOD_SHARE:
            reasons.append(f"{100 * (1 - figures['answered_share']):.0f} % of the requests failed")
        return next(filter(None, reasons), "")

    def document(self) -> dict[str, Any]:
        """Return it for JSON; times in seconds."""
        levels = []
        for place, each in enumerate(self.levels):
            output, why = self.output(place)
            ceiling = self.ceilings[place] if self.ceilings else None
            figures = {**each["figures"], "output_tokens_per_second": output}
            if why:
                figures["notes"] = [*figures["notes"], why]
            levels.append(
                {**each, "figures": figures, "ceiling": None if ceiling is None else asdict(ceiling)}
            )
        return {
            "target": self.plan.url,
            "model": self.found.get("described", {}).get("model", ""),
            "engine": self.found.get("described", {}).get("engine", ""),
            "workload": self.plan.workload,
            "seed": self.plan.seed,
            "seconds": self.seconds,
            "interrupted": self.interrupted,
            "problem": self.problem,
            "outcome": self.outcome,
            "levels": levels,
            "knee": self.found.get("knee"),
            "depths": self.depths,
            "gpu_utilization": self.gpu_utilization,
            "out_of_memory": self.out_of_memory,
            "notes": list(self.notes),
        }
