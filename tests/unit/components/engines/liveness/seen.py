"""Observations for tests, each a second after the one before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiidpd.components.engines.liveness.observation import GpuActivity, Observation
from aiidpd.contracts.containers import ContainerSummary, ContainerUse
from aiidpd.contracts.engines import EngineState, Residency
from aiidpd.contracts.gpus import GpuUse

START = 1_800_000_000.0
ID = "c" * 64
CARD = GpuUse(0, "GPU-0", "card", 0.0, 60.0)


class Scene:
    """One engine in one container, whose figures a test sets; ``at`` returns how it is seen then."""

    def __init__(self, **engine: Any) -> None:
        self.engine: dict[str, Any] = {"residency": Residency.LOADED, "engine": "vllm", **engine}
        self.container: dict[str, Any] = {}
        self.cpu = 0.0
        self.cores = 0.0
        self.moved = 0
        self.blocked: frozenset[int] = frozenset()
        self.gpu: float | None = None
        self.frozen = False
        self.use = True
        self.gpu_known = True
        self.answers = True
        self.last: EngineState | None = None
        self.seen: dict[str, Any] = {}
        self.before = 0.0

    def at(self, now: float) -> Observation:
        """Return the observation at ``now``; the figures have been so since the last one."""
        self.cpu += self.cores * (now - self.before)
        self.before = now
        if self.answers or self.last is None:
            read = {"read": now, "read_at": START + now} if self.answers else {}
            self.last = EngineState("a", "m", simulated=False, container=ID, **{**read, **self.engine})
        elif self.last.pending_since is None:
            self.last = replace(self.last, pending_since=now)
        container = ContainerSummary(
            ID,
            "llm",
            "image",
            **{
                "state": "running",
                "health": None,
                "gpu": self.gpu is not None or not self.gpu_known,
                "running": True,
                "started_at": START - 1000.0,
                **self.container,
            },
        )
        use = ContainerUse(
            ID,
            now,
            frozenset({10}),
            self.blocked,
            cpu_seconds=self.cpu,
            read_bytes=self.moved,
            written_bytes=0,
            frozen=self.frozen,
        )
        held = (replace(CARD, utilisation_ratio=self.gpu),) if self.gpu is not None else ()
        activity = GpuActivity(held, self.gpu if held else 0.0, 8e9 if held else 0.0)
        return Observation(
            now,
            START + now,
            self.last,
            container,
            use if self.use else None,
            activity if self.gpu_known else None,
            container.gpu,
            **self.seen,
        )
