"""One measurement of one endpoint: alone, warm, as long as its pace needs, with its circumstances."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from aiidpd.components.bench.alone.decide import acceptance
from aiidpd.components.bench.alone.prober import AloneProber, Answered, Disturbed
from aiidpd.components.bench.circumstances.recording import Found, Recording
from aiidpd.components.bench.drops import Drop, Dropped
from aiidpd.components.bench.longer import longer
from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import DECODE, BenchSample, cached_reason, measure
from aiidpd.components.bench.warmth import WARM_UP_TOKENS, coldness
from aiidpd.engines.target import Target
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable


class Measurer:
    """Measures endpoints by ``settings``, one at a time.

    ``recording`` begins the recording of an endpoint's circumstances, and is None where none are known.
    """

    def __init__(
        self,
        prober: AloneProber,
        settings: BenchSettings,
        *,
        clock: Clock,
        nonce: Callable[[], str],
        recording: Callable[[Target], Recording] | None = None,
    ) -> None:
        self._prober = prober
        self._settings = settings
        self._clock = clock
        self._nonce = nonce
        self._recording = recording
        self._record: Recording | None = None
        self.spent = 0.0
        """Seconds for which the endpoint was busy with the last measurement."""
        self.ended = 0.0
        """Monotonic second at which its answer ended; what was found out about it took longer."""

    def places(self, target: Target) -> tuple[str, ...]:
        """Return the GPUs that a measurement of ``target`` uses, none where that is not known."""
        return self._recording(target).places() if self._recording is not None else ()

    async def measure(self, target: Target, beat: Callable[[], None]) -> BenchSample:
        """Return the figures of ``target``; ``beat`` is called between requests.

        Raises :class:`~aiidpd.components.bench.alone.prober.Busy` where others are served so that nothing was
        sent, :class:`Dropped` where it does not count, :class:`Unavailable` where it failed.
        """
        self.spent = 0.0
        self._record = self._recording(target) if self._recording is not None else None
        cold = coldness(await self._prober.state(target.name), self._clock.monotonic())
        first = await self._request(target, WARM_UP_TOKENS) if cold else None
        beat()
        answered, why = await self._long_enough(target, beat)
        sample = explained(measure(answered.timeline), why)
        self.ended = answered.timeline.ended
        if answered.proof.alone is False:
            raise Dropped(Drop.SHARED, f"others were served meanwhile: {answered.proof.reason}")
        if reason := cached_reason(answered.timeline):
            raise Dropped(Drop.CACHED, reason)
        found = await self._record.end() if self._record is not None else Found()
        if found.throttled and self._settings.throttled == "reject":
            raise Dropped(Drop.THROTTLED, found.throttled)
        drafts = _drafts(answered)
        return replace(
            sample,
            alone=answered.proof.alone,
            alone_reason=answered.proof.reason,
            warm=None if cold is None else True,
            cold_reason=cold or "",
            cold_ttft_seconds=measure(first.timeline).ttft_seconds if first is not None else None,
            speculative_acceptance_ratio=drafts[1] / drafts[0] if drafts else None,
            throttled=found.throttled,
            gpu=found.gpu,
            circumstances=found.circumstances,
        )

    async def _long_enough(self, target: Target, beat: Callable[[], None]) -> tuple[Answered, str]:
        """Return an answer, requested again for more tokens where that tells its pace, and why if not."""
        tokens = self._settings.max_tokens
        answered = await self._request(target, tokens)
        for tries in itertools.count(1):
            beat()
            more = longer(answered.timeline, tokens, self.spent, tries, self._settings)
            if not isinstance(more, int):
                return answered, more or ""
            try:
                answered = await self._request(target, more)
            except Unavailable as error:  # such as that its context is too short for so many
                return answered, f"with {more} tokens, {error.reason}"
            tokens = more
        raise AssertionError  # the count never ends

    async def _request(self, target: Target, tokens: int) -> Answered:
        asked = request(self._settings, self._nonce(), max_tokens=tokens, spent=self.spent)
        began = self._clock.monotonic()
        try:
            return await self._prober.send(target, asked, during=self._read)
        except Disturbed as error:
            raise Dropped(Drop.DISTURBED, str(error)) from None
        finally:
            self.spent += self._clock.monotonic() - began

    def _read(self) -> None:
        if self._record is not None:
            self._record.read()


def _drafts(answered: Answered) -> tuple[int, int] | None:
    """Return the draft tokens of an answer and the accepted ones: by its timings, else by the counters."""
    engine = answered.timeline.engine
    if engine is not None and engine.draft_tokens and engine.accepted_tokens is not None:
        return (
            (engine.draft_tokens, engine.accepted_tokens)
            if engine.accepted_tokens <= engine.draft_tokens
            else None
        )
    return acceptance(answered.before, answered.after)


def explained(sample: BenchSample, why: str) -> BenchSample:
    """Return the sample with ``why`` its pace is not told by more tokens either, where that is so."""
    if not why:
        return sample
    withheld = (
        replace(each, reason=f"{each.reason}; {why}") if each.figure == DECODE else each
        for each in sample.withheld
    )
    return replace(sample, withheld=tuple(withheld))
