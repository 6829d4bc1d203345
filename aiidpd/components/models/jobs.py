"""Loop of what takes long: verifications and questions to the hub."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from aiidpd.components.models.branches import branch_of, branches
from aiidpd.components.models.check_signature import SignatureWanted
from aiidpd.components.models.child import ChildControl
from aiidpd.components.models.memory import ModelsMemory
from aiidpd.components.models.outcome import Outcome, failures, result_of
from aiidpd.components.models.process import FileRead, SignatureChecked, VerifyRequest
from aiidpd.components.models.registry import upstream_of
from aiidpd.components.models.scanned import ScannedFile, ScannedModel
from aiidpd.components.models.settings import ModelsSettings
from aiidpd.components.models.signatures import SignatureRecord, SignatureState, is_required, signers_for
from aiidpd.components.models.threads import follow
from aiidpd.components.models.trust import trusted
from aiidpd.components.models.upstream import Hub
from aiidpd.components.models.verify import Verified, wanted_of
from aiidpd.components.models.view import UpstreamState
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Severity
from aiidpd.kernel.jobs import Job, JobQueue
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat

CHECK_EVERY: Final = 86400.0
_LOOK_EVERY: Final = 600.0
_MOST_NAMED: Final = 5
VERIFY: Final = "verify"
CHECK: Final = "check"


class ModelJobs:
    """Works on the jobs of ``queue``, and asks the hub once a day where ``settings.upstream`` is true.

    ``changed`` is called whenever more is known of models.
    """

    simulated = False

    def __init__(
        self,
        settings: ModelsSettings,
        *,
        memory: ModelsMemory,
        queue: JobQueue,
        publish: Publisher,
        clock: Clock,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._queue = queue
        self._publish = publish
        self._clock = clock
        self._changed = changed

    async def run(self, heartbeat: Heartbeat) -> None:
        job: Job | None = None
        while True:
            with heartbeat.working():
                if job is not None:
                    await self._serve(job, heartbeat)
                elif self._settings.upstream:
                    await self._check(self._models(""), heartbeat, None)
            job = await self._next_job(heartbeat)

    async def _next_job(self, heartbeat: Heartbeat) -> Job | None:
        heartbeat.beat()
        job: Job | None = None
        async with anyio.create_task_group() as group:

            async def bound() -> None:
                for _ in range(int(_LOOK_EVERY / 5)):
                    await self._clock.sleep(5.0)
                    heartbeat.beat()
                group.cancel_scope.cancel()

            group.start_soon(bound)
            job = await self._queue.next()
            group.cancel_scope.cancel()
        return job

    async def _serve(self, job: Job, heartbeat: Heartbeat) -> None:
        with job.running():
            name = str(job.arguments.get("name") or "")
            if job.arguments["work"] == CHECK:
                await self._check(self._models(name), heartbeat, job)
            elif job.arguments.get("duplicates"):
                await self._verify(
                    self._possible_duplicates(), (), "files that may be there twice", job, heartbeat
                )
            else:
                models = self._models(name)
                files = {file.path: file for model in models for file in model.files}
                await self._verify(tuple(files.values()), models, name or "all models", job, heartbeat)
            await self._changed()

    def _models(self, name: str) -> tuple[ScannedModel, ...]:
        """Return the models that are called ``name``, all where it is empty; raises :class:`NotFound`."""
        models = self._memory.known.scan.models
        if not name:
            return models
        keys = self._memory.keys_of(name)
        return tuple(model for model in models if model.key in keys)

    def _possible_duplicates(self) -> tuple[ScannedFile, ...]:
        """Return the files that are probably copies of others, and whose SHA-256 is not known."""
        reading = self._memory.latest.get()
        paths = {
            copy.path
            for each in (reading.value.duplicates if reading else ())
            if not each.certain
            for copy in each.copies
        }
        return tuple(
            {
                file.path: file for model in self._models("") for file in model.files if file.path in paths
            }.values()
        )

    async def _verify(
        self,
        files: tuple[ScannedFile, ...],
        models: tuple[ScannedModel, ...],
        what: str,
        job: Job,
        heartbeat: Heartbeat,
    ) -> None:
        control, known = ChildControl(), self._memory.known
        read: deque[FileRead] = deque()
        checked: dict[str, SignatureRecord | None] = {}
        signers = trusted(self._settings)
        wanted_signatures = tuple(SignatureWanted(each, signers_for(signers, each)) for each in models)
        total = sum(file.stamp.size_bytes for file in files)

        def moved() -> None:
            heartbeat.beat()
            taken = [read.popleft() for _ in range(len(read))]
            if taken:
                self._memory.put_hashes({each.path: each.record for each in taken})
            done = control.step.files_done
            message = f"reading file {done + 1} of {len(files)}"
            if done >= len(files):
                message = f"reading what signatures cover, of {control.at}"
            job.progress(message, min(control.step.bytes_done, total), total, "bytes")

        def take(frame: object) -> None:
            if isinstance(frame, FileRead):
                read.append(frame)
            elif isinstance(frame, SignatureChecked):
                checked[frame.key] = frame.record

        def work() -> Verified:
            wanted = tuple(wanted_of(known, file) for file in files)
            return control.run(VerifyRequest(wanted, wanted_signatures), Verified, take)

        found = await follow(work, control, moved, clock=self._clock, what=f"the verification of {what}")
        self._memory.put_signatures(checked)
        signatures = tuple(
            Outcome(each.label, checked.get(each.key), is_required(signers, each)) for each in models
        )
        self._publish_signatures(signatures)
        self._report(found, signatures, what, job, total)

    def _publish_signatures(self, found: tuple[Outcome, ...]) -> None:
        for each in found:
            reason = f"{each.label}: {each.sentence}"
            if each.wrong:
                self._publish.event(
                    "model.signature_wrong",
                    reason,
                    about=each.label,
                    severity=Severity.ERROR,
                    signer=each.signer,
                    state=each.state.value,
                )
            elif each.state is SignatureState.VALID:
                self._publish.event("model.signature_valid", reason, about=each.label, signer=each.signer)

    def _report(
        self, found: Verified, signatures: tuple[Outcome, ...], what: str, job: Job, total: int
    ) -> None:
        result: dict[str, Any] = {
            "right": len(found.right),
            "without_proof": len(found.new),
            "damaged": len(found.damaged),
            "skipped": len(found.skipped),
            "bytes": total,
            **result_of(signatures),
        }
        failed = failures(signatures, demanded=bool(job.arguments.get("signature")))
        if not found.damaged and not found.skipped:
            if failed:
                job.fail(failed, **result)
                return
            self._publish.event(
                "model.verified", f"{what}: {len(found.right)} files are right", about=what, **result
            )
            job.succeed(**result)
            return
        bad = found.damaged or found.skipped
        named = "; ".join(f"{path}: {reason}" for path, reason in bad[:_MOST_NAMED])
        more = f"; and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
        count = f"{len(bad)} file{'s are' if len(bad) > 1 else ' is'}"
        error = f"{count} {'damaged' if found.damaged else 'not verified'}: {named}{more}"
        if found.damaged:
            self._publish.event(
                "model.content_wrong", f"{what}: {error}", about=what, severity=Severity.ERROR, **result
            )
        job.fail(f"{error}; {failed}" if failed else error, **result)

    async def _check(self, models: tuple[ScannedModel, ...], heartbeat: Heartbeat, job: Job | None) -> None:
        """Ask the hub for each branch: on request, else where the last answer is a day old."""
        wanted = [each for each in branches(models) if job is not None or self._is_due("@".join(each))]
        token = self._settings.token.get_secret_value() if self._settings.token else None
        hub = Hub(self._settings.endpoint, token, self._clock.time)
        reasons: dict[str, None] = {}
        try:
            for done, (repository, branch) in enumerate(wanted):
                if job is not None:
                    job.progress(f"asking for {repository}", done, len(wanted), "repositories")
                heartbeat.beat()
                found = await hub.newest(repository, branch)
                self._memory.put_revision(f"{repository}@{branch}", found)
                if found.reason:
                    reasons[found.reason] = None
                if hub.exhausted:
                    break
        finally:
            await hub.aclose()
        if wanted:
            await self._changed()
        if job is not None:
            self._end_check(models, job, len(wanted), tuple(reasons))

    def _is_due(self, name: str) -> bool:
        known = self._memory.known.records.revisions.get(name)
        now = self._clock.time()
        return known is None or not 0 <= now - known.at < CHECK_EVERY

    def _end_check(
        self, models: tuple[ScannedModel, ...], job: Job, asked: int, reasons: tuple[str, ...]
    ) -> None:
        states = [
            upstream_of(model, self._memory.known.records.revisions)[0]
            for model in models
            if branch_of(model)
        ]
        result = {
            "current": states.count(UpstreamState.CURRENT),
            "newer": states.count(UpstreamState.NEWER),
            "not_known": states.count(UpstreamState.UNKNOWN),
        }
        if asked and reasons and result["current"] + result["newer"] == 0:
            job.fail(f"not known: {'; '.join(reasons[:_MOST_NAMED])}", **result)
        else:
            job.succeed(**result)
