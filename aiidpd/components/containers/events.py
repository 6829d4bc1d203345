"""Events in the life of a container, with their reasons (pure)."""

from __future__ import annotations

from dataclasses import replace

from aiidpd.components.containers import facts
from aiidpd.components.containers.state import ContainersPolicy, Known
from aiidpd.kernel.events import Event
from aiidpd.kernel.words import lasting


class ContainerPublisher:
    """One step at work: takes what changed, and collects what is said of it in ``effects``.

    ``via`` is how it came to be known: by an ``event`` or a ``reading``.
    """

    def __init__(self, now: float, policy: ContainersPolicy, via: str) -> None:
        self.now = now
        self.policy = policy
        self.effects: list[Event] = []
        self._via = via

    def say(self, event: Event) -> None:
        """Publish ``event``, with how it came to be known."""
        self.effects.append(replace(event, evidence={**event.evidence, "seen_by": self._via}))

    def started(self, known: Known, at: float, *, exact: bool) -> Known:
        """A run began at ``at``, or where not ``exact`` before it."""
        # What was heard after this start is of this run, though its start was not known then.
        known = replace(
            known,
            running=True,
            started=at,
            exact=exact,
            health=known.health if known.health_at > at else None,
            oom=known.oom and known.oom_at > at,
            asked=known.asked if known.asked_at > at else "",
            paused=False,
        )
        self.say(facts.started(known, at))
        return known

    def died(self, known: Known, at: float, code: int | None) -> Known:
        """Its run ended; ``code`` is None where nobody can tell it any more."""
        known = replace(known, running=False, ended=at, paused=False)
        self.say(facts.died(known, at, code))
        if known.asked:
            if known.looping:
                self.loop_ended(known, at, "it was stopped on request")
                known = replace(known, looping=False, deaths=())
            return known
        deaths = (*known.deaths, at)[-self.policy.loop_deaths :]
        known = replace(known, deaths=deaths)
        full = len(deaths) == self.policy.loop_deaths
        if full and not known.looping and deaths[-1] - deaths[0] <= self.policy.loop_window:
            known = replace(known, looping=True)
            span = lasting(deaths[-1] - deaths[0])
            reason = f"it died {len(deaths)} times in {span} and nobody asked it to"
            self.say(facts.looping(known, at, reason, self.policy.loop_window))
        return known

    def loop_ended(self, known: Known, at: float, reason: str) -> None:
        """Its restart loop is over, because ``reason``."""
        self.say(facts.loop_ended(known, at, reason))

    def oom_killed(self, known: Known, at: float) -> Known:
        """Docker claims that the kernel killed a process of it for memory."""
        known = replace(known, oom=True, oom_at=at)
        self.say(facts.oom_killed(known, at))
        return known

    def health(self, known: Known, health: str, at: float) -> Known:
        """Its health check says ``health``."""
        if health == known.health:
            return known
        known = replace(known, health=health, health_at=at)
        if health == "unhealthy":
            self.say(facts.unhealthy(known, at))
        elif health == "healthy":
            self.say(facts.healthy(known, at))
        return known
