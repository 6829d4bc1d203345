"""Events in the life of a container, with their reasons (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Protocol

from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.state import LOOP_DEATHS, LOOP_WINDOW, Known
from aiidpd.kernel.events import Event, Scalar, Severity
from aiidpd.kernel.words import lasting

SOURCE: Final = "containers"
_FIRST_SIGNAL_CODE: Final = 128
_LAST_SIGNAL_CODE: Final = 128 + 64


class ContainerPublisher:
    """Takes what changed in one step, and collects the events about it in ``effects``.

    ``via``: it was seen by an ``event`` or by a ``reading``.
    """

    def __init__(self, now: float, via: str) -> None:
        self.now = now
        self.effects: list[Event] = []
        self._via = via

    def publish(self, event: Event) -> None:
        """Add ``event``, with how it came to be known."""
        self.effects.append(replace(event, evidence={**event.evidence, "seen_by": self._via}))

    def started(self, known: Known, at: float, *, exact: bool) -> Known:
        """A run began at ``at``, or where not ``exact`` before it."""
        # What an event said after this start is of this run, though its start was not known then.
        known = replace(
            known,
            running=True,
            started=at,
            exact=exact,
            health=known.health if known.health_at > at else None,
            oom=known.oom and known.oom_at > at,
            signal=known.signal if known.signal_at > at else "",
            paused=False,
        )
        self.publish(started(known, at))
        return known

    def died(self, known: Known, at: float, code: int | None) -> Known:
        """Its run ended; ``code`` is None where it is not known any more."""
        known = replace(known, running=False, ended=at, paused=False)
        self.publish(died(known, at, code))
        if known.signal:
            if known.looping:
                self.loop_ended(known, at, "it was stopped on request")
                known = replace(known, looping=False, deaths=())
            return known
        deaths = (*known.deaths, at)[-LOOP_DEATHS:]
        known = replace(known, deaths=deaths)
        full = len(deaths) == LOOP_DEATHS
        if full and not known.looping and deaths[-1] - deaths[0] <= LOOP_WINDOW:
            known = replace(known, looping=True)
            span = lasting(deaths[-1] - deaths[0])
            reason = f"it died {len(deaths)} times in {span} and nobody asked it to"
            self.publish(looping(known, at, reason, LOOP_WINDOW))
        return known

    def loop_ended(self, known: Known, at: float, reason: str) -> None:
        """Its restart loop is over, because ``reason``."""
        self.publish(loop_ended(known, at, reason))

    def oom_killed(self, known: Known, at: float) -> Known:
        """Docker claims that the kernel killed a process of it for memory."""
        known = replace(known, oom=True, oom_at=at)
        self.publish(oom_killed(known, at))
        return known

    def health(self, known: Known, health: str, at: float) -> Known:
        """Its health check says ``health``."""
        if health == known.health:
            return known
        known = replace(known, health=health, health_at=at)
        if health == "unhealthy":
            self.publish(unhealthy(known, at))
        elif health == "healthy":
            self.publish(healthy(known, at))
        return known


class Subject(Protocol):
    """Part of a container that its events have."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def oom(self) -> bool: ...
    @property
    def signal(self) -> str: ...
    @property
    def paused(self) -> bool: ...
    @property
    def restart_count(self) -> int: ...
    @property
    def deaths(self) -> tuple[float, ...]: ...


def watching(readings: Iterable[ContainerReading], at: float) -> Event:
    """Return the first event of all: what is there."""
    readings = tuple(readings)
    states = Counter(reading.state for reading in readings)
    sick = sum(reading.health == "unhealthy" for reading in readings)
    parts = [f"{count} {state}" for state, count in sorted(states.items())]
    text = f"watching {len(readings)} containers" + (f": {', '.join(parts)}" if parts else "")
    evidence: dict[str, Scalar] = {"containers": len(readings), "unhealthy": sick}
    return Event(at, SOURCE, "container.watching", f"{text}; {sick} unhealthy", evidence=evidence)


def appeared(subject: Subject, at: float) -> Event:
    """Return the event for a container that was not there before."""
    return _event(subject, at, "appeared", f"there is a new container of image {subject.image}")


def removed(subject: Subject, at: float) -> Event:
    """Return the event for a container that is not there any more."""
    return _event(subject, at, "removed", "the container was removed")


def started(subject: Subject, at: float) -> Event:
    """Return the event for the begin of a run."""
    return _event(subject, at, "started", "it started", restart_count=subject.restart_count)


def died(subject: Subject, at: float, code: int | None) -> Event:
    """Return the event for the end of a run; ``code`` is None where the engine can't tell it any more."""
    how = "ended, and the engine no longer tells its exit code" if code is None else f"ended with code {code}"
    if code is not None and _FIRST_SIGNAL_CODE < code <= _LAST_SIGNAL_CODE:
        how += f" (killed by signal {code - _FIRST_SIGNAL_CODE})"
    if subject.signal:
        how += f" after Docker was asked to send signal {subject.signal}"
    # A 137 alone proves nothing: `docker kill`, systemd and a person send SIGKILL too.
    how += "; Docker says it ran out of memory" if subject.oom else ""
    well = code == 0 or bool(subject.signal)
    return _event(
        subject,
        at,
        "died",
        f"it {how}",
        Severity.INFO if well else Severity.WARNING,
        exit_code=code,
        asked_signal=subject.signal,
        oom_claimed=subject.oom,
    )


def oom_killed(subject: Subject, at: float) -> Event:
    """Return the event for Docker's claim that the kernel killed a process for memory."""
    reason = "Docker says that the kernel killed a process in it for lack of memory"
    return _event(subject, at, "oom_killed", reason, Severity.ERROR)


def unhealthy(subject: Subject, at: float) -> Event:
    """Return the event for a health check that fails."""
    return _event(subject, at, "unhealthy", "its health check fails", Severity.WARNING)


def healthy(subject: Subject, at: float) -> Event:
    """Return the event for a health check that passes, for the first time or again."""
    return _event(subject, at, "healthy", "its health check passes")


def paused(subject: Subject, at: float) -> Event:
    """Return the event for a container that was paused or unpaused."""
    if subject.paused:
        return _event(subject, at, "paused", "its processes are suspended", Severity.WARNING)
    return _event(subject, at, "unpaused", "its processes go on")


def looping(subject: Subject, at: float, reason: str, window: float) -> Event:
    """Return the event for a container that dies again and again."""
    return _event(
        subject,
        at,
        "restart_loop",
        reason,
        Severity.ERROR,
        deaths=len(subject.deaths),
        window_seconds=window,
    )


def loop_ended(subject: Subject, at: float, reason: str) -> Event:
    """Return the event for the end of a restart loop."""
    return _event(subject, at, "restart_loop_ended", reason)


def _event(
    subject: Subject,
    at: float,
    kind: str,
    reason: str,
    severity: Severity = Severity.INFO,
    **evidence: Scalar,
) -> Event:
    return Event(
        time=at,
        source=SOURCE,
        kind=f"container.{kind}",
        reason=reason,
        subject=subject.name or subject.id[:12],
        severity=severity,
        evidence={"id": subject.id[:12], "image": subject.image, **evidence},
    )
