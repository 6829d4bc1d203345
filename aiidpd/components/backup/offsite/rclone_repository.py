"""Repository of rclone: a plain copy of the newest snapshot, and what was replaced or removed since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import fsencode
from pathlib import Path
from typing import Final, NoReturn

import anyio
import anyio.to_thread

from aiidpd.components.backup.offsite import rclone
from aiidpd.components.backup.offsite.local import LocalSnapshot, files_of_part, measure, size_of
from aiidpd.components.backup.offsite.program import Program, Reader
from aiidpd.components.backup.offsite.repository import Restored, SignWatch, Watch, fail, prove
from aiidpd.components.backup.offsite.result import Checked, Ending, Failure, Fault, Sent
from aiidpd.components.backup.offsite.settings import RepositorySettings
from aiidpd.kernel.errors import Conflict

_MOST_OUTPUT: Final = 1 << 20  # bytes
_NOT_THERE: Final = (3, 4)  # exit codes: no such folder, no such file


class RcloneRepository:
    """Repository of ``settings`` through the program ``rclone``; ``sums`` is sha256sum.

    ``directory`` is where it works and where lists of names lie for it.
    """

    def __init__(
        self, settings: RepositorySettings, *, program: Program, sums: Program, directory: Path
    ) -> None:
        self._settings = settings
        self._program = program
        self._sums = sums
        self._directory = directory

    async def create(self) -> None:
        name, repository = self._settings.name, self._settings.repository
        ending, output = await self._read(rclone.list_top(repository))
        if ending.code not in (0, *_NOT_THERE):
            self._fail("make", rclone.fault_of(ending))
        if ending.code == 0 and output.strip():
            reason = "something lies there already"
            raise Conflict("make", name, reason=reason, remedy="choose an empty folder of the remote")
        arguments = rclone.write_marker(repository)
        ending = await self._run(arguments, self._directory, _logged(), sent=rclone.MARK)
        if ending.code:
            self._fail("make", rclone.fault_of(ending))

    async def send(self, snapshot: LocalSnapshot, watch: Watch) -> Sent:
        local = await measure(snapshot)
        await self._require_marker("send a snapshot to")
        names: list[str] = []
        for lists in (False, True):
            arguments = rclone.sync(self._settings, snapshot.id, lists=lists)
            ending = await self._run(arguments, snapshot.folder, _logged(watch, copied=names.append))
            if ending.code:
                self._fail("send a snapshot to", rclone.fault_of(ending))
        new = await size_of(snapshot, names)
        return Sent(snapshot.id, new, local.bytes, local.files)

    async def check(self, snapshot: LocalSnapshot | None, part: int, parts: int, watch: Watch) -> Checked:
        if snapshot is None:
            reason = "the snapshot that was sent is not on the target any more"
            remedy = f"send the newest first: `aiidpctl backup offsite run {self._settings.name}`"
            raise Conflict("verify", self._settings.name, reason=reason, remedy=remedy)
        await self._require_marker("verify")
        local = await files_of_part(snapshot, part, parts)
        remote = self._settings.repository
        _, remotes = await self._read(rclone.list_remotes())
        encrypted = rclone.encrypted(remotes.decode("utf-8", "replace"), remote)
        arguments = rclone.compare(self._settings, encrypted=encrypted)
        found = await self._compared(arguments, snapshot, local.files, watch)
        if found.damage:
            return found
        names = self._directory / f"{self._settings.name}.names"
        listed = b"".join(fsencode(path) + b"\n" for path in local.paths)
        await anyio.to_thread.run_sync(names.write_bytes, listed)
        if not local.paths:
            return Checked(0, local.files, "files")
        back = rclone.read_back(self._settings, str(names))
        found = await self._compared(back, snapshot, local.files, watch)
        if not found.damage and found.read != len(local.paths):
            words = f"it compared {found.read} of {len(local.paths)} files"
            fail("verify all of a part of", self._settings.name, Failure.GARBAGE, words)
        return found

    async def tidy(self) -> None:
        """Remove nothing."""

    async def restore(self, to: Path, watch: Watch, snapshot: str = "") -> Restored:
        if snapshot:
            reason = "rclone has the newest snapshot alone"
            remedy = f"see {rclone.REPLACED}/ there for what was replaced, and fetch it by rclone copy"
            raise Conflict("restore snapshot", snapshot, reason=reason, remedy=remedy)
        await self._require_marker("restore from")
        arguments = rclone.restore(self._settings.repository, str(to), self._settings.rate)
        ending = await self._run(arguments, self._directory, _logged(watch))
        if ending.code:
            self._fail("restore from", rclone.fault_of(ending))
        return await prove(self._sums, to, self._settings.name)

    async def _compared(
        self, arguments: Sequence[str], snapshot: LocalSnapshot, total: int, watch: Watch
    ) -> Checked:
        counts = rclone.Comparison()

        def output(line: bytes) -> bool:
            counts.add(line.decode("utf-8", "backslashreplace"))
            return True

        ending = await self._run(arguments, snapshot.folder, _logged(watch, output))
        found = rclone.checked(counts, ending, total)
        if isinstance(found, Fault):
            self._fail("verify", found)
        return found

    async def _require_marker(self, action: str) -> None:
        ending, output = await self._read(rclone.read_marker(self._settings.repository))
        if ending.code in _NOT_THERE:
            words = f"{rclone.MARKER} is not there: nothing was ever sent to this place, or it is another one"
            fail(action, self._settings.name, Failure.NO_REPOSITORY, words)
        if ending.code:
            self._fail(action, rclone.fault_of(ending))
        if output.strip() != rclone.MARK.strip():
            fail(
                action, self._settings.name, Failure.GARBAGE, f"{rclone.MARKER} there is not of this version"
            )

    async def _read(self, arguments: Sequence[str]) -> tuple[Ending, bytes]:
        output = bytearray()

        def take(line: bytes) -> bool:
            if len(output) < _MOST_OUTPUT:
                output.extend(line + b"\n")
            return True

        ending = await self._run(arguments, self._directory, _logged(None, take))
        return ending, bytes(output)

    async def _run(
        self, arguments: Sequence[str], directory: Path, reader: Reader, sent: bytes = b""
    ) -> Ending:
        arguments = (*self._settings.options, *arguments)
        return await self._program.run(arguments, directory=directory, reader=reader, sent=sent)

    def _fail(self, action: str, fault: Fault) -> NoReturn:
        fail(action, self._settings.name, fault.failure, fault.words)


def _logged(
    watch: Watch | None = None,
    output: Callable[[bytes], bool] = lambda _line: True,
    copied: Callable[[str], None] = lambda _path: None,
) -> Reader:
    """Return what reads rclone's log, its error stream; ``copied`` gets each path that was copied."""
    signs = SignWatch(watch or (lambda _sign: None))

    def error(line: bytes) -> tuple[bool, bool]:
        text = line.decode("utf-8", "replace")
        sign = rclone.sign(text)
        if sign is not None:
            return signs.show(sign), False
        if path := rclone.copied(text):
            copied(path)
        wrong = bool(rclone.message(text))
        return not wrong, wrong

    return Reader(output=output, error=error)
