"""Compose as a child process: the plugin (`docker compose`) or `docker-compose`, as made the container."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import Process

from aiidpd.components.containers.actions import ContainerActions
from aiidpd.components.containers.recreate import project
from aiidpd.components.containers.recreate.faithful import Facts
from aiidpd.components.containers.recreate.project import ComposeService
from aiidpd.platform.redaction import Redactor

MARK: Final = "AIIDPD_RECREATION"
"""Variable that marks a compose process of ours, so that one that outlives us can be found."""

_COMMANDS: Final = (("docker", "compose"), ("docker-compose",))
_ASK_WITHIN: Final = 15.0  # seconds: for its version and for a hash
_UP_WITHIN: Final = 120.0  # seconds beside the grace
_MOST_OUTPUT: Final = 64 * 1024  # bytes
_SHOWN: Final = 400  # characters
_READ: Final = 4000  # characters, of which that is the end
_VERSION: Final = re.compile(r"v?(\d{1,3})\.\d+", re.ASCII)
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Done:
    """End of a command: its exit code, None where it was ended at its deadline, and its last output."""

    code: int | None
    output: str

    @property
    def words(self) -> str:
        """End of the output in one line, bounded and without secrets, for a reason."""
        text = " ".join(self.output[-_READ:].split())
        return Redactor().text(text)[-_SHOWN:] or "it printed nothing"


class Compose:
    """Calls the compose that is installed, on the engine behind ``socket``.

    ``environment`` is the daemon's own.
    """

    def __init__(self, socket: Path, environment: Mapping[str, str]) -> None:
        # Variables of the daemon's own must not get into a service: compose would fill them into its file.
        self._environment = {
            key: environment[key] for key in ("PATH", "HOME", "LANG", "XDG_RUNTIME_DIR") if key in environment
        }
        self._environment["DOCKER_HOST"] = f"unix://{socket}"

    async def problem(self, service: ComposeService, facts: Facts, actions: ContainerActions) -> str:
        """Return why compose would not create just the same service anew, an empty text where it would."""
        async with aclosing(self._problems(service, facts, actions)) as problems:
            async for problem in problems:
                return problem
        return ""

    async def _problems(
        self, service: ComposeService, facts: Facts, actions: ContainerActions
    ) -> AsyncGenerator[str]:
        unreadable = await anyio.to_thread.run_sync(_unreadable, service.paths)
        if unreadable:
            yield f"{unreadable:.200} can't be read"
        if not service.config_hash:
            yield "its labels have no hash of its configuration"
        if facts.tag != str(facts.container["Image"]):
            yield "the name of its image leads to another image by now"
        if len(await actions.labelled(service.selectors)) != 1:
            yield "its service has more than one container"
        command = await self._command(service)
        if command is None:
            yield f"no compose of version {service.major or 2} is installed"
            return
        arguments = (*project.arguments(service), "config", "--hash", service.service)
        done = await self._run((*command, *arguments), service, within=_ASK_WITHIN)
        if done.code != 0:
            yield f"compose does not accept its file: {done.words}"
        hashes = [tuple(line.split()) for line in done.output.splitlines()]
        if (service.service, service.config_hash) not in hashes:
            yield "its compose file has changed since, and a heal brings no change"

    async def up(self, service: ComposeService, grace: float, token: str) -> Done:
        """Have compose create the service anew; the old container ends within ``grace`` seconds."""
        command = await self._command(service)
        if command is None:
            return Done(None, "it is not installed any more")
        usage = await self._run((*command, "up", "--help"), service, within=_ASK_WITHIN)
        never_pull = "--pull " in usage.output
        arguments = project.up(service, grace, never_pull=never_pull)
        return await self._run((*command, *arguments), service, within=_UP_WITHIN + grace, token=token)

    async def end_left_over(self, token: str) -> None:
        """End the processes of compose that an earlier process of ours has started with ``token``."""
        for pid in await anyio.to_thread.run_sync(_marked, token):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    async def _command(self, service: ComposeService) -> tuple[str, ...] | None:
        """Return the command of the version that has made the service: each hashes in its own way."""
        for command in _COMMANDS:
            if shutil.which(command[0], path=self._environment.get("PATH")) is None:
                continue
            done = await self._run((*command, "version", "--short"), None, within=_ASK_WITHIN)
            found = _VERSION.match(done.output.strip()) if done.code == 0 else None
            if found and (not service.major or (int(found[1]) == 1) == (service.major == 1)):
                return command
        return None

    async def _run(
        self, command: Sequence[str], service: ComposeService | None, *, within: float, token: str = ""
    ) -> Done:
        environment = self._environment | ({MARK: token} if token else {})
        try:
            process = await anyio.open_process(
                command,
                stdin=DEVNULL,
                stderr=STDOUT,
                cwd=service.directory if service else "/",
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return Done(None, error.strerror or str(error))
        output = bytearray()
        try:
            with anyio.move_on_after(within):
                await _read(process, output)
                code = await process.wait()
                return Done(code, output.decode(errors="replace"))
            output += f"\nit did not end within {within:g} s".encode()
            return Done(None, output.decode(errors="replace"))
        finally:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                await process.aclose()


async def _read(process: Process, output: bytearray) -> None:
    """Read until its output ends; of more than is of use the end is kept."""
    if process.stdout is None:
        return
    async for piece in process.stdout:
        output += piece
        if len(output) > 2 * _MOST_OUTPUT:
            del output[:-_MOST_OUTPUT]


def _unreadable(paths: Sequence[str]) -> str:
    return next((path for path in paths if not Path(path).is_file() or not os.access(path, os.R_OK)), "")


def _marked(token: str) -> tuple[int, ...]:
    mark = f"{MARK}={token}".encode()
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return tuple(found)
