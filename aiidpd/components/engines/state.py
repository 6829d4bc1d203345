"""How an engine stands, from one look to the next, and when to look again (pure)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aiidpd.engines.figures import EngineFigures, NotKnown

_LONGEST_STRETCH = 300.0  # seconds: over more, a rate would tell of another time


@dataclass(frozen=True, slots=True)
class EnginePolicy:
    """When an engine is asked. All times in seconds.

    Each ``interval`` where it tells its figures. Where it has none, once in ``again``, and after a probe
    that succeeded, for the server may have been started anew; but not more often than each ``soonest``.
    """

    interval: float = 5.0
    again: float = 3600.0
    soonest: float = 60.0


@dataclass(frozen=True, slots=True)
class EngineState:
    """What is known of one endpoint's engine. ``read_at`` is in Unix seconds, ``read`` in monotonic ones.

    Without figures, ``reason`` says why, and ``lasting`` whether that will be so for a while. The tokens
    are the engine's own counters. ``includes_probe``: a probe of ours was among the requests, or may have
    been. ``uncounted_tokens``: see :class:`EngineFigures`.
    """

    name: str
    model: str
    simulated: bool
    engine: str = ""
    requests_running: int | None = None
    requests_waiting: int | None = None
    generated_tokens: int | None = None
    prompt_tokens: int | None = None
    generated_tokens_per_second: float | None = None
    uncounted_tokens: int | None = None
    includes_probe: bool = False
    read_at: float | None = None
    read: float | None = None
    reason: str = ""
    lasting: bool = False

    def told(
        self, answer: EngineFigures | NotKnown, at: float, now: float, *, includes_probe: bool
    ) -> EngineState:
        """Return the state after ``answer`` at ``at`` (Unix seconds) and ``now`` (monotonic seconds)."""
        fresh = EngineState(self.name, self.model, self.simulated, read_at=at, read=now)
        if isinstance(answer, NotKnown):
            return replace(fresh, reason=answer.reason, lasting=answer.lasting)
        return replace(
            fresh,
            engine=answer.engine,
            requests_running=answer.requests_running,
            requests_waiting=answer.requests_waiting,
            generated_tokens=answer.generated_tokens,
            prompt_tokens=answer.prompt_tokens,
            generated_tokens_per_second=self._pace(answer, now),
            uncounted_tokens=answer.uncounted_tokens,
            includes_probe=includes_probe,
        )

    def _pace(self, answer: EngineFigures, now: float) -> float | None:
        """Return the tokens per second since the look before; None where that tells nothing.

        A counter that fell is a restart: how much it had counted before that is not known.
        """
        before, after = self.generated_tokens, answer.generated_tokens
        if before is None or after is None or self.read is None or after < before:
            return None
        elapsed = now - self.read
        return (after - before) / elapsed if 0 < elapsed <= _LONGEST_STRETCH else None


@dataclass(frozen=True, slots=True)
class EnginesView:
    """Every engine that is asked, in the order of the configuration."""

    engines: tuple[EngineState, ...] = ()

    def engine(self, name: str) -> EngineState | None:
        """Return that of the endpoint ``name``, None where there is no such."""
        return next((each for each in self.engines if each.name == name), None)

    def put(self, state: EngineState) -> EnginesView:
        """Return the view with ``state`` in the place of the one before."""
        return EnginesView(tuple(state if each.name == state.name else each for each in self.engines))


def due(state: EngineState, probed: float | None, policy: EnginePolicy) -> float:
    """Return when to look, in monotonic seconds; ``probed`` is when a probe last succeeded."""
    if state.read is None:
        return 0.0
    if not state.lasting:
        return state.read + policy.interval
    again = state.read + policy.again
    if probed is not None and probed > state.read:
        again = min(again, probed)
    return max(again, state.read + policy.soonest)
