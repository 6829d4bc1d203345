"""Records every incident: its events, and what components contribute of the time around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

from aiidpd.incidents.evidence import Evidence, Moment
from aiidpd.incidents.incident import (
    ALERT_FIRING,
    IncidentPolicy,
    Trigger,
    identity_of,
    name_of,
    to_document,
    until,
)
from aiidpd.incidents.recording import Recording
from aiidpd.incidents.series import Series
from aiidpd.incidents.store import DOCUMENT, TEXT_NAME, IncidentStore
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import describe
from aiidpd.kernel.events import Event, Scalar, Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat

RECORDING: Final = "incident.recording"
RECORDED: Final = "incident.recorded"
FAILED: Final = "incident.failed"
_MOST_WAITING = 4
_AT_THE_END = 0.001  # seconds: at the very end a row still belongs to it

T = TypeVar("T")


class IncidentRecorder:
    """Records incidents, of all events and of the rows of those who contribute evidence; outlives its task.

    :meth:`on_event` never blocks and touches no disk; :meth:`run` writes, and may be run anew. An incident
    is on disk within moments of its beginning, and again, whole, when it ends: a daemon that is killed in
    between leaves what was before.
    """

    def __init__(
        self,
        store: IncidentStore,
        publish: Publisher,
        clock: Clock,
        *,
        policy: IncidentPolicy | None = None,
    ) -> None:
        self.policy = policy or IncidentPolicy()
        self._store = store
        self._publish = publish
        self._clock = clock
        self._evidence: dict[str, Evidence] = {}
        self._triggers = [ALERT_FIRING]
        self._noise = {RECORDING, RECORDED, FAILED}
        self._events: deque[tuple[float, Event]] = deque(maxlen=self.policy.most_events)
        self._open: Recording | None = None
        self._ended: deque[Recording] = deque(maxlen=_MOST_WAITING)
        self._changed = anyio.Event()
        self._written = anyio.Event()  # set, and another put in its place, whenever writing was tried
        self._recovered = False
        publish.bus.attach(events=self.on_event)

    def contribute(
        self, name: str, evidence: Evidence, *, triggers: Iterable[Trigger] = (), noise: Iterable[str] = ()
    ) -> None:
        """Add ``evidence`` to every incident from now on, in the order of these calls.

        ``triggers`` are events that begin an incident besides grave alerts; ``noise`` are kinds of events
        that no incident has, since they come all the time.
        """
        if name in self._evidence:
            raise ValueError(f"there is evidence {name} already")
        self._evidence[name] = evidence
        self._triggers += triggers
        self._noise |= set(noise)

    def on_event(self, event: Event) -> None:
        """Take an event of the bus; a trigger begins an incident, or prolongs the one in progress."""
        if event.kind in self._noise:
            return
        now = self._clock.monotonic()
        recording = self._current(now)
        if recording is None and self._open is not None:
            self._end(self._open)
        begins = any(trigger.meets(event) for trigger in self._triggers)
        if recording is None and begins:
            recording = self._begin(event, now)
        self._events.append((now, event))
        if recording is None:
            return
        if begins:
            recording.extend(event, now, self.policy)
            self._take_trigger(recording)
            self._changed.set()
        recording.append(event, self.policy)

    async def written(self, event: Event) -> str:
        """Return the id of the incident that ``event`` has just begun or prolonged, once that is on the disk.

        An empty text where ``event`` did neither, or the disk refuses. Whoever calls it bounds it.
        """
        recording = self._open
        if recording is None or recording.trigger < event.id:
            return ""
        revision = recording.revision
        while recording.saved < revision:
            if recording.refused >= revision:
                return ""
            await self._written.wait()
        return recording.identity

    @property
    def simulated(self) -> bool:
        """Never: real files are written, whatever the readings are."""
        return False

    async def run(self, heartbeat: Heartbeat) -> None:
        """Write what is to be written, until cancelled."""
        with heartbeat.working():
            if not self._recovered:
                await self._in_thread(self._store.recover, "clear up")
                self._recovered = True
        while True:
            self._changed = anyio.Event()
            while self._ended:
                ended = self._ended[0]
                if not ended.identity:
                    await self._announce(ended)
                await self._finish(ended)
                if self._ended[0] is ended:
                    self._ended.popleft()
            recording = self._open
            if recording is None:
                await heartbeat.idle(self._changed)
                continue
            if not recording.identity:
                await self._announce(recording)
                continue
            if recording.behind:
                await self._write(recording, "recording")
                continue
            left = until(recording.first, recording.last, self.policy) - self._clock.monotonic()
            if left < 0:
                self._end(recording)
            else:
                await heartbeat.idle(self._changed, left + _AT_THE_END)

    def _current(self, now: float) -> Recording | None:
        """Return the incident that ``now`` belongs to, None where there is none."""
        recording = self._open
        if recording is None or now > until(recording.first, recording.last, self.policy):
            return None
        return recording

    def _begin(self, event: Event, now: float) -> Recording:
        since = now - self.policy.before
        recording = Recording(
            event=event,
            first=now,
            last=now,
            offset=self._clock.time() - now,
            before=[to_document(past) for at, past in self._events if at >= since],
        )
        for name, evidence in self._evidence.items():
            recording.documents[name] = self._documents(recording, name, evidence, Moment.BEGINNING)
            if evidence.rings is not None:
                recording.windows[name] = evidence.rings.window(
                    since, now + self.policy.after, longest=self.policy.follows, offset=recording.offset
                )
        self._open = recording
        self._changed.set()
        return recording

    def _take_trigger(self, recording: Recording) -> None:
        """Add what contributors have for the trigger that ``recording`` has just got."""
        brought = False
        for name, evidence in self._evidence.items():
            documents = _guarded(recording, name, evidence.at_trigger) or {}
            texts = _guarded(recording, name, partial(_named_texts, evidence)) or {}
            recording.documents.setdefault(name, {}).update(documents)
            recording.texts.update(texts)
            brought = brought or bool(documents or texts)
        if brought:
            recording.revision += 1

    def _end(self, recording: Recording) -> None:
        for name, evidence in self._evidence.items():
            documents = self._documents(recording, name, evidence, Moment.END)
            recording.documents.setdefault(name, {}).update(documents)
        recording.close()
        self._ended.append(recording)
        if self._open is recording:
            self._open = None
        self._changed.set()

    def _documents(
        self, recording: Recording, name: str, evidence: Evidence, moment: Moment
    ) -> dict[str, Any]:
        documents = _guarded(recording, name, lambda: dict(evidence.documents(moment)))
        if documents is not None:
            return documents
        return {name: {"reason": recording.faults[name]}} if moment is Moment.BEGINNING else {}

    def _contents(self, recording: Recording, state: str) -> tuple[dict[str, Any], list[Series]]:
        """Return the document of ``recording`` and its files."""
        summaries: dict[str, Mapping[str, Any]] = {}
        files: list[Series] = []
        for name, window in recording.windows.items():
            found = _guarded(recording, name, partial(self._evidence[name].summary, window))
            if found is not None:
                summaries[name] = found[0]
                files += found[1]
        recording.counts = {
            key: len(entries)
            for summary in summaries.values()
            for key, entries in summary.items()
            if isinstance(entries, list)
        }
        return recording.to_document(state, summaries), files

    async def _announce(self, recording: Recording) -> None:
        """Write an incident that has just begun."""
        # Set at once: were writing to fail, it is tried again only at the end.
        recording.identity = identity_of(recording.event)
        free = await self._in_thread(lambda: self._store.free(recording.identity), "name")
        recording.identity = free or recording.identity
        if await self._write(recording, "recording"):
            what = f"the last {self.policy.before / 60:g} minutes and what follows are kept"
            self._report(RECORDING, recording, f"{what}: {recording.event.reason}")

    async def _finish(self, recording: Recording) -> None:
        """Write an incident that has ended, whole."""
        if await self._write(recording, "complete"):
            show = f"aiidpctl incidents show {recording.identity}"
            self._report(RECORDED, recording, f"recorded; to see it: {show}")

    async def _write(self, recording: Recording, state: str) -> bool:
        document, files = self._contents(recording, state)
        identity, revision, texts = recording.identity, recording.revision, dict(recording.texts)

        def write() -> bool:
            self._store.write(identity, document, files, texts)
            return True

        for name, reason in recording.faults.items():
            self._fail(f"cannot record {name} in incident {identity}: {reason}")
        recording.faults.clear()
        done = bool(await self._in_thread(write, f"write incident {identity}"))
        if done:
            recording.saved = revision
            for name in texts:
                recording.texts.pop(name, None)
        else:
            recording.refused = revision
        self._written.set()
        self._written = anyio.Event()
        return done

    async def _in_thread(self, work: Callable[[], Any], action: str) -> Any:
        """Return what ``work`` returns, None where the disk refused."""
        try:
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except OSError as error:
            self._fail(
                f"cannot {action} in {self._store.folder}: {describe(error)}; free space or repair the disk"
            )
            return None

    def _fail(self, reason: str) -> None:
        self._publish.event(FAILED, reason, severity=Severity.ERROR)

    def _report(self, kind: str, recording: Recording, reason: str) -> None:
        evidence: dict[str, Scalar] = {
            "trigger": name_of(recording.event),
            "about": recording.event.subject,
            "triggers": len(recording.triggers),
            "seconds": round(recording.last - recording.first, 3),
            **recording.counts,
        }
        self._publish.marked(simulated=recording.event.simulated).effect(
            Event(self._clock.time(), "", kind, reason, recording.identity, evidence=evidence)
        )


def _named_texts(evidence: Evidence) -> Mapping[str, str]:
    """Return the texts of ``evidence``; raises ValueError where one has the name of no such file."""
    texts = evidence.texts()
    for name in texts:
        if TEXT_NAME.fullmatch(name) is None or name == DOCUMENT:
            raise ValueError(f"{name!r:.80} is no name of a file of text")
    return texts


def _guarded(recording: Recording, name: str, call: Callable[[], T]) -> T | None:
    """Return what ``call`` returns; None where it fails, which is noted: the other evidence is not lost."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 -- whatever it is, the incident is recorded without that part
        recording.faults[name] = describe(error)
        return None
