"""An engine whose day is made up, second by second, as its page, its processes and its GPU would show it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from aiidpd.components.engines.liveness.observation import Observation, gpu_activity
from aiidpd.contracts.containers import ContainerSummary, ContainerUse
from aiidpd.contracts.engines import EngineState, Residency
from aiidpd.contracts.gpus import GpuMemoryUse, GpusView, GpuUse

START = 1_800_000_000.0
CONTAINER = "c" * 64
POLL = 5.0
DAY = 86400.0


@dataclass(frozen=True)
class Segment:
    """A stretch of a day: ``kind``, for ``seconds``. ``steps`` are a second, ``blocked``: its page waits."""

    kind: str
    seconds: float
    steps: float = 0.0
    running: int = 0
    waiting: int = 0
    blocked: bool = False
    prompt: int | None = None


def day(source: random.Random, seconds: float, *, may_sleep: bool) -> Iterator[Segment]:
    """Yield what an engine does all day: it loads, serves, prefills, sleeps, is paused, restarts."""
    yield Segment("load", source.uniform(5, 600))
    weights = {**WEIGHTS, "sleep": 2.0 if may_sleep else 0.0}
    left = seconds
    while left > 0:
        kind = source.choices([*weights], [*weights.values()])[0]
        for each in PARTS[kind](source):
            left -= each.seconds
            yield each


def _prompt(source: random.Random) -> int | None:
    return source.choice((None, 100, 3000, 60_000))


def _decode(
    source: random.Random, seconds: float, rate: float, running: int = 1, waiting: int = 0
) -> Segment:
    return Segment("decode", seconds, rate, running, waiting, prompt=_prompt(source))


def _burst(source: random.Random) -> list[Segment]:
    return [
        _decode(source, source.uniform(0.2, 6), source.uniform(5, 100), source.randint(1, 8))
        if turn % 2
        else Segment("idle", source.uniform(0.1, 40))
        for turn in range(12)
    ]


def _prefill(source: random.Random) -> list[Segment]:
    lasts = source.choice((20.0, 120.0, 600.0, 1800.0))
    length = None if source.random() < 0.5 else 120_000
    return [
        Segment("prefill", lasts, 0.0, 1, 0, source.random() < 0.7, length),
        Segment("decode", source.uniform(1, 60), 10, 1),
    ]


PARTS: dict[str, Callable[[random.Random], list[Segment]]] = {
    "idle": lambda source: [Segment("idle", source.uniform(1, 600))],
    "serve": lambda source: [_decode(source, source.uniform(1, 120), source.uniform(0.3, 200))],
    "burst": _burst,
    "saturated": lambda source: [
        _decode(source, source.uniform(60, 3600), source.uniform(0.5, 60), 8, source.randint(1, 500))
    ],
    "prefill": _prefill,
    "long": lambda source: [_decode(source, 1200, source.uniform(0.25, 30))],
    "blocked": lambda source: [Segment("decode", 60, source.uniform(1, 20), 1, 0, blocked=True)],
    "pause": lambda source: [Segment("pause", source.uniform(1, 120), 0.0, source.randint(0, 2))],
    "restart": lambda source: [Segment("restart", 1), Segment("load", source.uniform(3, 1200))],
    "sleep": lambda source: [
        Segment("sleep", source.uniform(10, 3600)),
        Segment("load", source.uniform(3, 120)),
    ],
    "night": lambda source: [Segment("idle", source.uniform(3600, 20000))],
}
WEIGHTS = {
    "idle": 10.0,
    "serve": 12.0,
    "burst": 12.0,
    "saturated": 6.0,
    "prefill": 2.0,
    "long": 1.5,
    "blocked": 2.0,
    "pause": 0.7,
    "restart": 0.3,
    "night": 0.3,
}


@dataclass
class World:
    """One engine in one container on one machine, advanced by ``tick``.

    ``hang`` is the second from which on it hangs as soon as it decodes or prefills, and has said that its
    model is loaded: what hangs before that is a load that stands still. ``hang_kind`` is ``idle`` (nothing
    moves any more, and its page answers no more), ``page`` (the page answers, with what it last said) or
    ``busy`` (something spins). ``idle_cpu`` is what it uses without requests, in cores.
    """

    source: random.Random
    segments: Iterator[Segment]
    gpu: bool = True
    may_sleep: bool = False
    hang: float | None = None
    hang_kind: str = "idle"
    gpu_known: bool = True
    interval: float = POLL
    now: float = 0.0
    idle_cpu: float = 0.01
    cpu: float = 100.0
    steps: float = 0.0
    read_bytes: int = 0
    written_bytes: int = 0
    level: float = 0.0
    run: float = START - 5.0
    state: EngineState = field(default_factory=lambda: EngineState("a", "m", simulated=False))
    asked: float | None = None
    next_poll: float = 0.0
    use: ContainerUse | None = None
    hung_on: Segment | None = None

    def __post_init__(self) -> None:
        self.segment = next(self.segments)
        self.left = self.segment.seconds
        self.state = replace(self.state, container=CONTAINER, may_sleep=self.may_sleep)

    @property
    def hanging(self) -> bool:
        """True once it hangs."""
        return self.hung_on is not None

    def tick(self, seconds: float = 1.0) -> Observation | None:
        """Advance by a moment; None when the day is over."""
        left = seconds
        while left > 1e-9:
            part = min(left, self.left, 0.5)
            self._pass(part)
            left -= part
            self.left -= part
            if self.left <= 1e-9 and not self.hanging:
                following = next(self.segments, None)
                if following is None:
                    return None
                self.segment, self.left = following, following.seconds
                if following.kind == "restart":
                    self.run, self.steps = START + self.now, 0.0
                    self.asked, self.cpu, self.use = None, 0.0, None
                    self.read_bytes = self.written_bytes = 0
            elif self.hanging:
                self.left = 1e9
        self._poll()
        self._use()
        return self._observation()

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        segment = self.segment
        if (
            self.hang is not None
            and not self.hanging
            and self.now >= self.hang
            and segment.kind in ("decode", "prefill")
            and self.state.residency is Residency.LOADED
        ):
            self.hung_on = segment
            self.left = 1e9
        noise = self.source.random() < seconds / 30  # a health check within the container
        self.cpu += (0.25 * self.source.random()) if noise and segment.kind != "pause" else 0.0
        if self.hanging:
            busy = self.hang_kind == "busy"
            self.cpu += seconds if busy and not self.gpu else 0.0
            self.level = 1.0 if busy and self.gpu else 0.0
            return
        self.level = 0.0
        match segment.kind:
            case "decode":
                self.cpu += seconds * self.source.uniform(0.3, 1.0) if self.gpu else 1.5 * seconds
                self.steps += segment.steps * seconds
                self.level = self.source.uniform(0.3, 1.0) if self.gpu else 0.0
            case "prefill":
                self.cpu += (0.02 if self.gpu else 2.0) * seconds
                self.level = 1.0 if self.gpu else 0.0
            case "load":
                self.cpu += self.source.choice((0.0, 0.5, 1.0)) * seconds
                self.read_bytes += int(self.source.choice((0, 1 << 20, 1 << 28)) * seconds)
            case "pause":
                pass
            case _:
                self.cpu += self.idle_cpu * seconds
                self.written_bytes += int(4096 * seconds) if noise else 0

    def _poll(self) -> None:
        """Read the page at its interval; while it does not answer one request is under way."""
        kind, segment = self.segment.kind, self.hung_on or self.segment
        silent = self.hang_kind != "page" if self.hanging else kind == "pause" or segment.blocked
        if silent:
            if self.asked is None and self.now >= self.next_poll:
                self.asked = self.now
        elif self.now >= self.next_poll or self.asked is not None:
            self.asked, self.next_poll = None, self.now + self.interval
            fresh = EngineState("a", "m", simulated=False, container=CONTAINER, may_sleep=self.may_sleep)
            fresh = replace(fresh, read=self.now, read_at=START + self.now)
            if kind in ("load", "restart"):
                says = self.source.random() < 0.5
                loading = Residency.LOADING if says else Residency.UNKNOWN
                self.state = replace(fresh, residency=loading, reason="it answers 503")
            elif kind == "sleep":
                self.state = replace(fresh, residency=Residency.SLEEPING)
            else:
                self.state = replace(
                    fresh,
                    engine="llama.cpp",
                    residency=Residency.LOADED,
                    requests_running=segment.running,
                    requests_waiting=segment.waiting,
                    steps=int(self.steps),
                    longest_prompt_tokens=segment.prompt,
                )
        self.state = replace(self.state, pending_since=self.asked)

    def _use(self) -> None:
        if self.use is None or self.now - self.use.read >= 1.9:
            self.use = ContainerUse(
                CONTAINER,
                self.now,
                frozenset({10}),
                cpu_seconds=self.cpu,
                read_bytes=self.read_bytes,
                written_bytes=self.written_bytes,
                frozen=self.segment.kind == "pause" and not self.hanging,
            )

    def _observation(self) -> Observation:
        paused = self.segment.kind == "pause" and not self.hanging
        container = ContainerSummary(
            CONTAINER,
            "llm",
            "image",
            "paused" if paused else "running",
            None,
            self.gpu,
            running=True,
            started_at=self.run,
        )
        view = None
        if self.gpu and self.gpu_known:
            holders = (GpuMemoryUse(10, CONTAINER, 8e9),)
            view = GpusView((GpuUse(0, "GPU-0", "card", self.level, 80.0, 400.0, 9e9, holders),))
        return Observation(
            self.now,
            START + self.now,
            self.state,
            container,
            self.use,
            gpu_activity(CONTAINER, (10,), view),
            self.gpu,
        )
