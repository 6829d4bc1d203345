"""Loop that scans for models and observes their use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio

from aiidpd.components.models.child import ChildControl
from aiidpd.components.models.conditions import update_conditions, update_state
from aiidpd.components.models.disk import with_sample
from aiidpd.components.models.duplicates import unsampled
from aiidpd.components.models.events import changes
from aiidpd.components.models.folders import usual_folders
from aiidpd.components.models.memory import ModelsMemory
from aiidpd.components.models.observe import Seen, observed, read_open
from aiidpd.components.models.process import ScanRequest
from aiidpd.components.models.processes import OpenFiles
from aiidpd.components.models.reading import FileChanged
from aiidpd.components.models.reading import sample_of as read_sample
from aiidpd.components.models.record import HashRecord, InspectedRecord, ModelRecords
from aiidpd.components.models.registry import Known, hash_record, sample_of, sha256_of
from aiidpd.components.models.scanned import Scan, ScannedModel
from aiidpd.components.models.settings import ModelsSettings
from aiidpd.components.models.threads import follow
from aiidpd.components.models.trust import trusted
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.jobs import Job, JobQueue
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.thread import in_daemon_thread

OBSERVE_EVERY: Final = 60.0
PROCESSES_EVERY: Final = 300.0
MOST_SAMPLES: Final = 1000
"""Files of which a sample is read in one scan."""


class ModelsWorker:
    """Scans by ``queue`` and by the interval, and observes uses once a minute.

    ``source`` is what backups are made of, None where they are not. ``memory`` outlives the worker.
    """

    simulated = False  # real files, always

    def __init__(
        self,
        settings: ModelsSettings,
        *,
        source: Path | None,
        memory: ModelsMemory,
        queue: JobQueue,
        seen: Callable[[], Seen],
        publish: Publisher,
        conditions: Conditions,
        clock: Clock,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._settings = settings
        self._source = source
        self._memory = memory
        self._queue = queue
        self._seen = seen
        self._publish = publish
        self._conditions = conditions
        self._clock = clock
        self._environ = environ
        self._scanned: float | None = None
        self._opened = OpenFiles()
        self._opened_at: float | None = None

    async def run(self, heartbeat: Heartbeat) -> None:
        with heartbeat.working():  # a pass of its own: the daemon is ready before the first search has ended
            await in_daemon_thread(self._memory.load)
        job: Job | None = None
        while True:
            with heartbeat.working():
                if job is not None:
                    with job.running():
                        await self._scan(heartbeat, job)
                elif self._due:
                    await self._scan(heartbeat, None)
                await self._observe()
            job = await self._next_job(heartbeat)

    @property
    def _due(self) -> bool:
        if self._scanned is None:
            return True
        interval = self._settings.scan_interval
        return interval > 0 and self._clock.monotonic() - self._scanned >= interval

    @property
    def _backed_up(self) -> bool:
        """True once there is another backup than that which was observed."""
        newest, observed = self._seen().catalog, self._memory.known.catalog
        if newest is None or observed is None:
            return newest is not observed
        return (newest.snapshot, newest.current_at) != (observed.snapshot, observed.current_at)

    async def _next_job(self, heartbeat: Heartbeat) -> Job | None:
        """Return the next job, None once it is time to observe."""
        heartbeat.beat()
        job: Job | None = None
        async with anyio.create_task_group() as group:

            async def bound() -> None:
                for _ in range(int(OBSERVE_EVERY / 5)):
                    await self._clock.sleep(5.0)
                    heartbeat.beat()
                    if self._backed_up:
                        break
                group.cancel_scope.cancel()

            group.start_soon(bound)
            job = await self._queue.next()
            group.cancel_scope.cancel()
        return job

    async def _scan(self, heartbeat: Heartbeat, job: Job | None) -> None:
        if self._memory.scanning:  # another thread on the same dead disk would hang too
            reason = "an earlier scan has not ended"
            raise Unavailable(
                "search", "the folders of models", reason=reason, remedy="see dmesg for dead disks"
            )
        control, known = ChildControl(), self._memory.known

        def work() -> tuple[Scan, dict[str, HashRecord]]:
            try:
                found = run_scan(tuple(self._folders()), known.records.models, control)
                return found, _samples(replace(known, scan=found), control)
            finally:
                self._memory.scanning = False

        def moved() -> None:
            heartbeat.beat()
            if job is not None:
                job.progress(f"searching {control.at}")

        self._memory.scanning = True
        self._scanned = self._clock.monotonic()
        found, samples = await follow(work, control, moved, clock=self._clock, what="the search for models")
        self._take(found, samples)
        if job is not None:
            job.succeed(
                models=len(found.models),
                opened=found.opened,
                leftovers=len(found.leftovers),
                seconds=round(found.seconds, 3),
            )

    def _folders(self) -> Sequence[tuple[Path, bool]]:
        """Return the folders to search, each with whether it is configured. Blocks."""
        if self._settings.folders:
            return [(folder, True) for folder in self._settings.folders]
        if self._source is not None:
            return [(self._source, True)]
        return [(folder, False) for folder in usual_folders(self._environ)]

    def _take(self, found: Scan, samples: Mapping[str, HashRecord]) -> None:
        """Remember ``found``, and publish what changed since the last scan."""
        now, before = self._clock.time(), self._memory.known.records
        missing = {each.path for each in found.folders if not (each.found and each.complete)}
        after = {
            each.key: InspectedRecord(
                each.fingerprint,
                each.label,
                each.folder,
                each.model.facts,
                each.model.problems,
                each.signature,
            )
            for each in found.models
        }
        if before.scanned:
            for change in changes(before.models, after, missing):
                self._publish.event(change.kind, change.reason, about=change.about)
        held = {
            key: each for key, each in before.models.items() if key not in after and each.folder in missing
        }
        space = {
            each.mount: with_sample(before.space.get(each.mount, ()), now, each.free_bytes, each.total_bytes)
            for each in found.spaces
        }
        there = {file.path for model in found.models for file in model.files}
        hashes = {**before.hashes, **samples}
        if not missing:
            hashes = {path: each for path, each in hashes.items() if path in there}
        self._memory.known = replace(self._memory.known, scan=found, scanned_at=now)
        self._memory.put(
            ModelRecords(
                1,
                {**after, **held},
                hashes,
                {key: each for key, each in before.used.items() if key in after or key in held},
                before.revisions,
                {**before.space, **space},
                True,
                {key: each for key, each in (before.signatures or {}).items() if key in after or key in held},
            )
        )

    async def _observe(self) -> None:
        now = self._clock.monotonic()
        if self._opened_at is None or now - self._opened_at >= PROCESSES_EVERY:
            known = self._memory.known
            self._opened = await in_daemon_thread(lambda: read_open(known))
            self._opened_at = now
        before, seen, at = self._memory.known, self._seen(), self._clock.time()
        before = replace(before, signers=trusted(self._settings))
        known, view = await in_daemon_thread(lambda: observed(before, seen, self._opened, at))
        # Meanwhile a verification may have brought hashes: only what was observed is taken.
        present = self._memory.known
        self._memory.known = replace(known, records=present.records)
        self._memory.put(replace(present.records, used={**present.records.used, **known.records.used}))
        self._memory.latest.put(view)
        update_conditions(self._conditions, view, self._settings, at)
        update_state(self._conditions, self._memory.path, self._memory.problem)


def run_scan(
    folders: tuple[tuple[Path, bool], ...], known: Mapping[str, InspectedRecord], control: ChildControl
) -> Scan:
    """Return what a scan in a process of its own found. Blocks."""
    models: list[ScannedModel] = []

    def take(frame: object) -> None:
        if isinstance(frame, ScannedModel):
            models.append(frame)

    found = control.run(ScanRequest(folders, dict(known)), Scan, take)
    return replace(found, models=tuple(models))


def _samples(known: Known, control: ChildControl) -> dict[str, HashRecord]:
    """Return samples of the files that may be copies of others, where there are none yet. Blocks."""
    wanted = unsampled(
        known.scan.models, lambda file: sha256_of(known, file)[0], lambda file: sample_of(known, file)
    )
    found = {}
    for file in wanted[:MOST_SAMPLES]:
        control.steps += 1
        try:
            sample = read_sample(file.path, file.stamp)
        except (OSError, FileChanged):
            continue
        before = hash_record(known.records, file) or HashRecord(file.stamp)
        found[file.path] = replace(before, sample=sample)
    return found
