"""Faults of an engine that serves all the same (pure): on the CPU, busy without requests, answers cut.

Each is reported once it was so for a while, and no longer once it was not so for a while; what is not known
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from aiidpd.components.engines.liveness import words
from aiidpd.components.engines.liveness.history import idle_levels
from aiidpd.components.engines.liveness.observation import Observation
from aiidpd.components.engines.liveness.state import LivenessState
from aiidpd.components.engines.liveness.witnesses import over
from aiidpd.contracts.engines import Residency

ON_CPU_SECONDS: Final = 120.0
GHOST_SECONDS: Final = 300.0
CLEAR_SECONDS: Final = 60.0
_BUSY_CORES: Final = 0.5
_BUSY_GPU: Final = 0.5
_QUIET_GPU: Final = 0.2
_ON_GPU_SHARE: Final = 0.95
_WINDOW_SECONDS: Final = 20.0
_FRESH_SECONDS: Final = 15.0
_MOST_CUT: Final = 0.2
_CUT_IS_OVER: Final = 0.1
_FEWEST_ANSWERS: Final = 50
_CUT_WINDOW_SECONDS: Final = 3600.0
_GIB: Final = 1 << 30


class FaultKind(StrEnum):
    """Kinds of silent faults."""

    ON_CPU = "on_cpu"
    GHOST_LOAD = "ghost_load"
    ANSWERS_CUT = "answers_cut"


@dataclass(frozen=True, slots=True)
class Dwell:
    """Fault that is ``active``; ``since`` is from when on the opposite has been observed."""

    active: bool = False
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Counts of answers at ``at``, the beginning of a window, with those of our own requests until then."""

    at: float
    finished: int
    cut: int
    own: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A silent fault: its kind, its evidence in a sentence, and what to do."""

    kind: FaultKind
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class SilentState:
    """Silent faults of one engine so far, with the last sentence on each."""

    on_cpu: Dwell = field(default_factory=Dwell)
    ghost: Dwell = field(default_factory=Dwell)
    answers: Answers | None = None
    cut: float | None = None
    """Share of the answers of the last whole window, where it is remarkable."""
    on_cpu_reason: str = ""
    ghost_reason: str = ""
    cut_reason: str = ""


def step(before: SilentState, live: LivenessState, seen: Observation, own_requests: int) -> SilentState:
    """Return the faults after an observation; ``own_requests`` counts those of aiidpd that ended."""
    on_cpu, on_cpu_reason = _on_cpu(live, seen)
    ghost, ghost_reason = _ghost_load(seen)
    after = replace(
        before,
        on_cpu=dwell(before.on_cpu, holds=on_cpu, now=seen.now, seconds=ON_CPU_SECONDS),
        ghost=dwell(before.ghost, holds=ghost, now=seen.now, seconds=GHOST_SECONDS),
        on_cpu_reason=on_cpu_reason or before.on_cpu_reason,
        ghost_reason=ghost_reason or before.ghost_reason,
    )
    return _with_answers(after, seen, own_requests)


def faults(state: SilentState) -> tuple[Fault, ...]:
    """Return the faults that are to be reported."""
    found: list[tuple[bool, Callable[[], Fault]]] = [
        (
            state.on_cpu.active,
            lambda: Fault(
                FaultKind.ON_CPU,
                state.on_cpu_reason,
                "see its log for why it found no GPU (driver too old, no CUDA build, GPU lost in the "
                "container), and create its container anew",
            ),
        ),
        (
            state.ghost.active,
            lambda: Fault(
                FaultKind.GHOST_LOAD,
                state.ghost_reason,
                "see its log for a request that never ended, and restart it where nothing waits for one",
            ),
        ),
        (
            state.cut is not None,
            lambda: Fault(
                FaultKind.ANSWERS_CUT,
                state.cut_reason,
                "raise the clients' max_tokens or the engine's context length, or shorten the prompts",
            ),
        ),
    ]
    return tuple(make() for active, make in found if active)


def dwell(before: Dwell, *, holds: bool | None, now: float, seconds: float) -> Dwell:
    """Return a fault that begins once it held for ``seconds``, and ends once it did not for a minute."""
    if holds is None:
        return before
    if holds is before.active:
        return before if before.since is None else replace(before, since=None)
    since = now if before.since is None else before.since
    if now - since >= (CLEAR_SECONDS if before.active else seconds):
        return Dwell(holds)
    return replace(before, since=since)


def _on_cpu(live: LivenessState, seen: Observation) -> tuple[bool | None, str]:
    engine = seen.engine
    if engine.residency in (Residency.LOADING, Residency.SLEEPING, Residency.UNLOADED) or not live.answered:
        return (None, "")
    size, on_gpu = engine.model_bytes, engine.model_gpu_bytes
    if size and on_gpu is not None and seen.wants_gpu is not False:
        partly = on_gpu < _ON_GPU_SHARE * size
        held = f"only {on_gpu / _GIB:.1f} of its model's {size / _GIB:.1f} GiB lie in a GPU's memory"
        return (partly, f"{held}, the rest is computed on the CPU" if partly else "")
    gpu = seen.gpu
    if not seen.wants_gpu or gpu is None or seen.use is None or not seen.use.pids:
        return (False if seen.wants_gpu is False else None, "")
    if gpu.gpus and gpu.bytes != 0:
        return (False, "")
    window = over(live.witnesses, _WINDOW_SECONDS, idle_levels(live.history), seen.now)
    if window.cores is None or window.cores < _BUSY_CORES:
        return (None, "")
    reason = (
        f"it was started with a GPU, but none of its {len(seen.use.pids)} processes holds memory of one, and "
        f"they use {window.cores:.1f} cores"
    )
    return (True, reason)


def _ghost_load(seen: Observation) -> tuple[bool | None, str]:
    engine, gpu = seen.engine, seen.gpu
    if gpu is None or gpu.utilisation_ratio is None:
        return (None, "")
    if (
        not gpu.gpus
        or gpu.utilisation_ratio < _QUIET_GPU
        or engine.requests_running
        or engine.requests_waiting
    ):
        return (False, "")
    fresh = engine.read is not None and seen.now - engine.read <= _FRESH_SECONDS and not engine.reason
    ours = seen.probing or engine.includes_probe
    if gpu.shared or not fresh or ours or engine.requests_running is None:
        return (None, "")
    if gpu.utilisation_ratio < _BUSY_GPU:
        return (None, "")
    names = ", ".join(str(each.index) for each in gpu.gpus)
    watts = [each.power_watts for each in gpu.gpus if each.power_watts is not None]
    power = f" ({sum(watts):.0f} W)" if watts else ""
    reason = (
        f"GPU {names} is at {100 * gpu.utilisation_ratio:.0f} %{power} by its processes alone, and it "
        "reports no request that runs or waits"
    )
    return (True, reason)


def _with_answers(state: SilentState, seen: Observation, own: int) -> SilentState:
    finished, cut = seen.engine.requests_finished, seen.engine.requests_cut
    if finished is None or cut is None:
        return state
    begun = state.answers
    if begun is None or finished < begun.finished or cut < begun.cut:
        return replace(state, answers=Answers(seen.now, finished, cut, own))
    # Ours end by their length, each of them: they say nothing of others.
    ours = max(0, own - begun.own)
    theirs = finished - begun.finished - ours
    if theirs < _FEWEST_ANSWERS or seen.now - begun.at < _CUT_WINDOW_SECONDS:
        return state
    were_cut = max(0, cut - begun.cut - ours)
    share = min(1.0, were_cut / theirs)
    remarkable = share >= (_CUT_IS_OVER if state.cut is not None else _MOST_CUT)
    reason = (
        f"{100 * share:.0f} % of its last {theirs} answers were cut by a limit on length or by the "
        f"context's end, in {words.seconds(seen.now - begun.at)}"
    )
    return replace(
        state,
        answers=Answers(seen.now, finished, cut, own),
        cut=share if remarkable else None,
        cut_reason=reason,
    )
