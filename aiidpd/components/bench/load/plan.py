"""Plan of a load, as the process that measures gets it (pure)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Server and load. ``model`` may be empty; ``rate`` is None for a closed loop of ``users``."""

    url: str
    workload: str
    seconds: float
    warm_up: float
    timeout: float
    model: str = ""
    api_key: str = ""
    users: int = 1
    rate: float | None = None
    ramp: bool = False
    most: float = 0.0
    seed: int = 0
    ttft_limit: float | None = None
    tpot_limit: float | None = None
    depths: tuple[int, ...] = ()
