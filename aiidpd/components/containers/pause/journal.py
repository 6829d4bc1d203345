"""The pauses of ours that may still hold, on disk: so that every container goes on whatever becomes of us."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from aiidpd.components.containers.pause.state import Pause
from aiidpd.kernel.errors import AiidpdError, describe
from aiidpd.platform.lease import JournalStore, duration

NAME: Final = "pauses.lease.json"
_VERSION = 1


class JournalUnusable(AiidpdError):
    """There is a lease, and it can't be read or makes no sense: which containers we paused is not known."""


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """How the Docker Engine is reached: its ``socket``, and how many seconds a call may take."""

    socket: Path
    call_timeout: float


class PauseJournal:
    """The lease at ``path``. :meth:`read` blocks on the disk, and so does what :meth:`writing` returns.

    ``engine`` is written down with the pauses: what letting them go on needs of the configuration.
    """

    def __init__(self, path: Path, engine: EngineAddress | None = None) -> None:
        self.path = path
        self._engine = engine
        self._store = JournalStore(path)

    def read(self) -> tuple[Pause, ...]:
        """Return the pauses that it names, none where there is no file. Raises :class:`JournalUnusable`."""
        return self._read()[0]

    def read_engine(self) -> EngineAddress | None:
        """Return the engine that was asked to pause, None where the lease does not say.

        Those of earlier versions do not. Raises :class:`JournalUnusable`.
        """
        return self._read()[1]

    def _read(self) -> tuple[tuple[Pause, ...], EngineAddress | None]:
        try:
            content = self._store.read()
            return ((), None) if content is None else _decode(content)
        except OSError as error:
            raise self.unusable(error.strerror or str(error)) from error
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise self.unusable(describe(error)) from error

    def writing(self, pauses: Iterable[Pause]) -> Callable[[], None]:
        """Return what a thread is to carry out, so that the lease names ``pauses``.

        It is on the disk when that returns; it raises :class:`OSError`. One that is overtaken by one that was
        asked for later does nothing.
        """
        named = [asdict(pause) for pause in pauses]
        if not named:
            return self._store.writing(None)
        content: dict[str, Any] = {
            "version": _VERSION,
            "pid": os.getpid(),
            "written_at": round(time.time(), 3),
            "pauses": named,
        }
        if self._engine is not None:
            engine = self._engine
            content["engine"] = {"socket": str(engine.socket), "call_timeout": engine.call_timeout}
        return self._store.writing(json.dumps(content, indent=1).encode() + b"\n")

    def unusable(self, reason: str) -> JournalUnusable:
        """Return the error that says why the lease can't be used, and the way out."""
        return JournalUnusable(
            "use",
            str(self.path),
            reason=reason,
            remedy="see with `docker ps --filter status=paused` what is paused, let it go on with "
            "`docker unpause NAME`, and remove the file",
        )


def _decode(content: bytes) -> tuple[tuple[Pause, ...], EngineAddress | None]:
    lease = json.loads(content)
    if lease["version"] != _VERSION:
        raise ValueError(f"it has version {lease['version']!r}, not {_VERSION}")
    return tuple(_pause(pause) for pause in lease["pauses"]), _engine(lease.get("engine"))


def _engine(engine: object) -> EngineAddress | None:
    """Return the address that ``engine`` is, None where it makes no sense: then the configuration says."""
    if not isinstance(engine, dict):
        return None
    socket, timeout = engine.get("socket"), duration(engine.get("call_timeout"))
    if not isinstance(socket, str) or not socket.startswith("/") or "\0" in socket or timeout is None:
        return None
    return EngineAddress(Path(socket), timeout)


def _pause(pause: dict[str, Any]) -> Pause:
    texts = {key: pause[key] for key in ("id", "name", "gpu", "reason")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise TypeError(f"{key} is {text!r} where text belongs")
    flags = {key: pause[key] for key in ("simulated", "lost")}
    if not texts["id"] or not all(isinstance(flag, bool) for flag in flags.values()):
        raise ValueError("an id must not be empty; simulated and lost must be true or false")
    started_at = float(pause["started_at"])
    if not math.isfinite(started_at):
        raise ValueError(f"no container started at {started_at}")
    return Pause(**texts, started_at=started_at, **flags)
