"""Repository of restic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

from aiidpd.components.backup.offsite import restic
from aiidpd.components.backup.offsite.local import LocalSnapshot, measure
from aiidpd.components.backup.offsite.program import Program, Reader
from aiidpd.components.backup.offsite.repository import Restored, SignWatch, Watch, fail, prove
from aiidpd.components.backup.offsite.result import Checked, Ending, Failure, Fault, Sent
from aiidpd.components.backup.offsite.settings import RepositorySettings

_MOST_OUTPUT: Final = 4 << 20  # bytes of a list of snapshots
_MOST_LINES: Final = 1000
_PASSWORD: Final = "RESTIC_PASSWORD_FILE"  # noqa: S105 -- the name of a variable


class ResticRepository:
    """Repository of ``settings`` through the program ``restic``; ``sums`` is sha256sum.

    ``host`` is the name under which its snapshots are found again; ``directory`` is where it works.
    """

    def __init__(
        self, settings: RepositorySettings, *, program: Program, sums: Program, host: str, directory: Path
    ) -> None:
        self._settings = settings
        self._program = program
        self._sums = sums
        self._host = host
        self._directory = directory

    async def create(self) -> None:
        ending = await self._run(restic.init())
        if ending.code:
            text = "".join(ending.errors)
            if "already" in text:
                fail("make", self._settings.name, Failure.OTHER, "there is a repository already")
            self._fail("make", restic.fault_of(ending))

    async def send(self, snapshot: LocalSnapshot, watch: Watch) -> Sent:
        local = await measure(snapshot)
        ending, sent = await self._backup(snapshot, watch)
        if ending.code and restic.fault_of(ending).failure is Failure.INCOMPLETE:
            # So it ends too where it has stored again what was missing there: then the second time is well.
            again, second = await self._backup(snapshot, watch)
            if sent is not None and second is not None:
                second = replace(second, new_bytes=sent.new_bytes + second.new_bytes)
            ending, sent = again, second
        if ending.code:
            self._fail("send a snapshot to", restic.fault_of(ending))
        if sent is None:
            fail("understand", self._settings.name, Failure.GARBAGE, "restic gave no summary of its backup")
        if (sent.files, sent.bytes) != (local.files, local.bytes):
            here = f"here are {local.files} files of {local.bytes} bytes"
            words = f"{here}, and it took {sent.files} of {sent.bytes}"
            fail("send all of a snapshot to", self._settings.name, Failure.INCOMPLETE, words)
        return sent

    async def _backup(self, snapshot: LocalSnapshot, watch: Watch) -> tuple[Ending, Sent | None]:
        parent = await self._newest()
        signs = SignWatch(watch)
        sent: Sent | None = None

        def output(line: bytes) -> bool:
            nonlocal sent
            sign = restic.sign(line)
            if sign is not None:
                return signs.show(sign)
            sent = restic.summary(line) or sent
            return True

        arguments = restic.backup(
            host=self._host, snapshot=snapshot.id, settings=self._settings, parent=parent
        )
        ending = await self._unlocked(arguments, Reader(output=output), directory=snapshot.folder)
        return ending, sent

    async def check(self, snapshot: LocalSnapshot | None, part: int, parts: int, watch: Watch) -> Checked:  # noqa: ARG002 -- a protocol's
        lines: list[str] = []
        last = ""

        def output(line: bytes) -> bool:
            nonlocal last
            text = line.decode("utf-8", "replace")
            if len(lines) < _MOST_LINES or " packs" in text:
                lines[_MOST_LINES:] = [text]
            before, last = last, text.rpartition("] ")[2]  # without the time that has passed
            return last != before

        arguments = restic.check(part, parts, self._settings)
        ending = await self._unlocked(arguments, Reader(output=output))
        found = restic.checked(lines, ending)
        if isinstance(found, Fault):
            self._fail("verify", found)
        return found

    async def tidy(self) -> None:
        if not self._settings.removes:
            return
        ending = await self._unlocked(restic.forget(self._host, self._settings))
        if ending.code:
            self._fail("remove old snapshots from", restic.fault_of(ending))

    async def restore(self, to: Path, watch: Watch, snapshot: str = "") -> Restored:
        found = snapshot or await self._newest()
        if not found:
            fail(
                "restore from", self._settings.name, Failure.OTHER, f"it has no snapshot of host {self._host}"
            )
        signs = SignWatch(watch)

        def output(line: bytes) -> bool:
            sign = restic.sign(line)
            return True if sign is None else signs.show(sign)

        ending = await self._unlocked(restic.restore(found, str(to)), Reader(output=output))
        if ending.code:
            self._fail("restore from", restic.fault_of(ending))
        return await prove(self._sums, to, self._settings.name)

    async def _newest(self) -> str:
        output = bytearray()

        def take(line: bytes) -> bool:
            if len(output) < _MOST_OUTPUT:
                output.extend(line + b"\n")
            return True

        ending = await self._unlocked(restic.snapshots(self._host), Reader(output=take))
        if ending.code:
            self._fail("read", restic.fault_of(ending))
        found = restic.newest(bytes(output))
        if found is None:
            fail("understand", self._settings.name, Failure.GARBAGE, "restic's list of snapshots is none")
        return found

    async def _unlocked(
        self, arguments: Sequence[str], reader: Reader | None = None, directory: Path | None = None
    ) -> Ending:
        """Run it; where a lock is in the way, remove the stale ones and try once more."""
        ending = await self._run(arguments, reader, directory)
        if ending.code and restic.fault_of(ending).failure is Failure.LOCKED:
            await self._run(restic.unlock())
            ending = await self._run(arguments, reader, directory)
        return ending

    async def _run(
        self, arguments: Sequence[str], reader: Reader | None = None, directory: Path | None = None
    ) -> Ending:
        password = self._settings.password
        secret = (_PASSWORD, password.get_secret_value()) if password else None
        where = directory or self._directory
        arguments = (*self._settings.options, *arguments)
        return await self._program.run(arguments, directory=where, reader=reader, secret=secret)

    def _fail(self, action: str, fault: Fault) -> NoReturn:
        fail(action, self._settings.name, fault.failure, fault.words)
