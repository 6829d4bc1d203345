"""A simulated endpoint and engine, both marked so, for a machine without an inference server."""

from __future__ import annotations

import random
from collections.abc import Callable

from aiidpd.contracts.engines import Residency
from aiidpd.engines.figures import EngineFigures, EngineReading, PollLoad
from aiidpd.engines.target import Chunk, ProbeRequest, Timeline
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable

_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_SECOND = 80
_CYCLE = (0, 1, 2, 3, 2, 1)  # users at a time
_STEP = 20.0  # seconds that each of them lasts
_PROMPT = 160  # tokens


class SimulatedTarget:
    """Answers like an 8B model on one GPU: prompts at about 4,000 tokens/s, output at about 80.

    ``clock`` gives its pace; the same ``seed`` gives the same figures.
    """

    simulated = True
    url = "simulated://"
    model = "SIMULATED-8b"

    def __init__(self, clock: Clock, seed: int = 0, name: str = "SIMULATED") -> None:
        self.name = name
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 -- no secret is made of it

    async def probe(self, request: ProbeRequest) -> Timeline:
        started = self._clock.monotonic()
        prompt_tokens = max(1, len(request.prompt) // _CHARACTERS_PER_TOKEN)
        first = 0.03 + prompt_tokens / 4000 * self._random.lognormvariate(0.0, 0.1)
        if first > request.first_token_timeout:
            await self._clock.sleep(request.first_token_timeout)
            raise self._late(f"no token within {request.first_token_timeout:g} s")
        await self._clock.sleep(first)
        chunks = [self._chunk()]
        for _ in range(request.max_tokens - 1):
            await self._clock.sleep(0.0125 * self._random.lognormvariate(0.0, 0.05))
            if self._clock.monotonic() - started > request.timeout:
                raise self._late(f"the answer did not end within {request.timeout:g} s")
            chunks.append(self._chunk())
        return Timeline(
            started=started,
            ended=self._clock.monotonic(),
            chunks=tuple(chunks),
            finish="length",
            prompt_tokens=prompt_tokens,
            output_tokens=request.max_tokens,
            cached_tokens=0,
        )

    async def aclose(self) -> None:
        """Nothing is open."""

    def _late(self, reason: str) -> Unavailable:
        remedy = "raise bench.timeout or lower bench.max_tokens"
        return Unavailable("measure", f"{self.name} at {self.url}", reason=reason, remedy=remedy)

    def _chunk(self) -> Chunk:
        return Chunk(self._clock.monotonic(), _CHARACTERS_PER_TOKEN)


class SimulatedEngine:
    """Engine behind a simulated endpoint, with users who come and go: what it generates grows with them.

    The users are a function of the time since the start, so that a reading costs nothing and repeats.
    ``probing`` returns whether a probe runs now, which is a request too.
    """

    def __init__(self, clock: Clock, probing: Callable[[], bool] = lambda: False) -> None:
        self._clock = clock
        self._probing = probing
        self._began = clock.monotonic()
        self.load = PollLoad()

    async def read(self) -> EngineReading:
        steps, part = divmod((self._clock.monotonic() - self._began) / _STEP, 1.0)
        cycles, step = divmod(int(steps), len(_CYCLE))
        users = _CYCLE[step]
        worked = (cycles * sum(_CYCLE) + sum(_CYCLE[:step]) + users * part) * _STEP
        running = users + self._probing()
        generated = int(worked * _TOKENS_PER_SECOND)
        figures = EngineFigures(
            "SIMULATED",
            running,
            0,
            generated,
            2 * generated,
            running,
            int(worked * _TOKENS_PER_SECOND),
            _PROMPT if running else None,
        )
        return EngineReading(figures, figures.engine, Residency.LOADED)

    async def aclose(self) -> None:
        """Nothing is open."""
