"""State of an engine's liveness from one observation to the next, and the decision on it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aiidpd.components.engines.liveness.history import ColdStart, EngineHistory
from aiidpd.components.engines.liveness.witnesses import Witnesses
from aiidpd.contracts.engines import Verdict
from aiidpd.kernel.events import Scalar


@dataclass(frozen=True, slots=True)
class LivenessState:
    """Liveness of one run of an engine. Times are monotonic seconds unless their names say otherwise.

    ``run`` is the start of its container (Unix seconds). It was last ``observed`` then, and without a gap
    since ``watched_since``: what happened in a gap, in which the daemon itself may have stood still, proves
    nothing. ``read`` is when its page last answered, with ``running``, ``waiting``, ``steps`` and
    ``tokens`` as it then said; ``stepped`` when the present gap between steps began, and ``progressed``
    when a step was last seen. Nothing has been seen to progress since ``still_since``. ``tainted``: this
    gap between steps is no usual one. ``idle_since`` is since when no request was seen, ``failing_since``
    since when its page is not to be had, ``moved`` when the processes of a loading engine last did
    something.
    """

    history: EngineHistory = field(default_factory=EngineHistory)
    run: float | None = None
    began: float = 0.0
    observed: float = 0.0
    watched_since: float = 0.0
    witnesses: Witnesses = field(default_factory=Witnesses)
    read: float | None = None
    running: int | None = None
    waiting: int | None = None
    steps: int | None = None
    tokens: int | None = None
    stepped: float | None = None
    progressed: float | None = None
    still_since: float = 0.0
    prompt_tokens: int | None = None
    tainted: bool = False
    idle_since: float | None = None
    failing_since: float | None = None
    answered: bool = False
    start: ColdStart | None = None
    loading_since: float | None = None
    moved: float = 0.0
    gpu_bytes: float = 0.0
    decayed: float = 0.0
    verdict: Verdict = Verdict.UNKNOWN
    verdict_since: float = 0.0
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Verdict on an engine and why, in a sentence with its evidence.

    ``condition``: it is to be reported. ``evidence`` are the same figures for programs.
    """

    verdict: Verdict
    reason: str = ""
    condition: bool = False
    evidence: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Decision of one step, with the Unix second since which that is the verdict."""

    decision: Decision
    since: float
    changed: bool
    before: Verdict
