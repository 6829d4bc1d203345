"""Events in the life of a container, with their reasons (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Protocol

from aiidpd.components.containers.cause import Cause, Witnesses, cause
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.state import LOOP_DEATHS, LOOP_WINDOW, NEVER, UNPAUSED, Known
from aiidpd.components.containers.toggle import Toggle
from aiidpd.kernel.events import Event, Scalar, Severity
from aiidpd.kernel.words import lasting

SOURCE: Final = "containers"
_FIRST_SIGNAL_CODE: Final = 128
_LAST_SIGNAL_CODE: Final = 128 + 64
_OOM_WITHIN: Final = 2.0  # seconds between the runtime's claim and the end that it explains


class ContainerPublisher:
    """Takes what changed in one step, and collects the events about it in ``effects``.

    ``via``: it was seen by an ``event`` or by a ``reading``. What is from before ``resumed_at``, or is found
    by the first reading after that, happened while no daemon ran.
    """

    def __init__(self, now: float, via: str, witnesses: Witnesses, resumed_at: float | None = None) -> None:
        self.now = now
        self.effects: list[Event] = []
        self._via = via
        self._witnesses = witnesses
        self._resumed_at = resumed_at

    def publish(self, event: Event) -> None:
        """Add ``event``, with how it came to be known."""
        evidence: dict[str, Scalar] = {**event.evidence, "seen_by": self._via}
        reason = event.reason
        if self._resumed_at is not None and (self._via == "reading" or event.time < self._resumed_at):
            evidence["while_down"] = True
            reason += ", while aiidpd did not run"
        self.effects.append(replace(event, reason=reason, evidence=evidence))

    def started(
        self, known: Known, at: float, *, after: float = NEVER, reading: ContainerReading | None = None
    ) -> Known:
        """A run began at ``at``, or where only an event says so between ``after`` and ``at``."""
        # What an event said after this start is of this run, though its start was not known then.
        check = known.check if at < known.check.at <= self.now else replace(known.check, value="")
        known = replace(
            known,
            running=True,
            started=at,
            started_after=after,
            exact=False,
            settled=False,
            starts=known.starts + 1,
            next_start=NEVER,
            check=check,
            oom=known.oom and known.oom_at > at,
            signal=known.signal if known.signal_at > at else "",
            pause=_unpaused(known.pause, at, self.now),
        )
        restarts = known.restart_count if reading is None else reading.restart_count
        self.publish(started(known, at, restarts))
        return known

    def died(self, known: Known, at: float, code: int | None) -> Known:
        """Its run ended; ``code`` is None where it is not known any more."""
        witnesses, act = self._witnesses, self._witnesses.acted(known.id)
        claimed = known.oom and abs(at - known.oom_at) <= _OOM_WITHIN
        killed = witnesses.machine_oom_kills(at) if claimed else 0
        by = cause(code, signal=known.signal, oom_claimed=claimed, oom_kills=killed, acted=act)
        kills = None if known.started is None else witnesses.oom_kills(known.id, known.started)
        known = replace(
            known,
            running=False,
            ended=at,
            settled=False,
            ended_by=str(by),
            pause=_unpaused(known.pause, at, self.now),
        )
        self.publish(died(known, at, code, oom_kills=kills, act=act))
        if by in (Cause.REQUEST, Cause.AIIDPD):
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


def _unpaused(pause: Toggle, at: float, now: float) -> Toggle:
    """Return ``pause`` after a run began or ended at ``at``: what events said after is of another run."""
    return pause if at < pause.at <= now else replace(pause, value=UNPAUSED, at=at)


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
    def ended_by(self) -> str: ...
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


def started(subject: Subject, at: float, restart_count: int) -> Event:
    """Return the event for the begin of a run."""
    return _event(subject, at, "started", "it started", restart_count=restart_count)


def start_failed(subject: Subject, at: float, error: str) -> Event:
    """Return the event for a container that the runtime could not start, because of ``error``."""
    reason = f"it could not be started: {error:.300}"
    return _event(subject, at, "start_failed", reason, Severity.ERROR, by=str(Cause.RUNTIME))


def restarts_unseen(subject: Subject, at: float, number: int) -> Event:
    """Return the event for runs that began and ended unseen, since the runtime dropped their events."""
    times = "once" if number == 1 else f"{number} times"
    reason = f"it also ended and started again {times}: the runtime counts that, and dropped its events"
    return _event(subject, at, "restarts_unseen", reason, Severity.WARNING, restarts=number)


def died(subject: Subject, at: float, code: int | None, *, oom_kills: int | None, act: str) -> Event:
    """Return the event for the end of a run; ``code`` is None where the engine can't tell it any more.

    ``oom_kills`` counts what the kernel was seen to have killed in it for memory before, ``act`` is what
    aiidpd did to it.
    """
    how = "ended, and the engine no longer tells its exit code" if code is None else f"ended with code {code}"
    if code is not None and _FIRST_SIGNAL_CODE < code <= _LAST_SIGNAL_CODE:
        how += f" (killed by signal {code - _FIRST_SIGNAL_CODE})"
    if subject.ended_by == Cause.KERNEL:
        how += ": the kernel killed it for lack of memory"
    elif act:
        how += f" by aiidpd: {act}"
    elif subject.signal:
        how += f" after Docker was asked to send signal {subject.signal}"
    # A 137 alone proves nothing: `docker kill`, systemd and a person send SIGKILL too.
    if subject.oom and subject.ended_by != Cause.KERNEL:
        how += "; Docker says it ran out of memory"
    well = code == 0 or subject.ended_by in (Cause.REQUEST, Cause.AIIDPD)
    evidence: dict[str, Scalar] = {} if oom_kills is None else {"oom_kills": oom_kills}
    return _event(
        subject,
        at,
        "died",
        f"it {how}",
        Severity.INFO if well else Severity.WARNING,
        exit_code=code,
        by=subject.ended_by,
        asked_signal=subject.signal,
        oom_claimed=subject.oom,
        **evidence,
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


def paused(subject: Subject, at: float, *, paused: bool) -> Event:
    """Return the event for a container that was paused or unpaused."""
    if paused:
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
