"""One daemon a state folder: the kernel holds the lock and drops it with the process, whatever ends it."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Self

from aiidpd.kernel.errors import Misconfigured

NAME = "lock"
_ANOTHER = "stop that one, or give this one another daemon.state_directory"


class StateLock:
    """Right to use a state folder; a context manager.

    The file stays where it is: a lock file that is removed can be locked twice.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self.path = path

    @classmethod
    def acquire(cls, state_directory: Path) -> Self:
        """Lock ``state_directory`` and write our pid into it.

        Raises :class:`Misconfigured` where another process holds it, or where it is no directory that
        this process can write to.
        """
        path = state_directory / NAME
        if not state_directory.is_dir():
            what = "it is not a directory" if state_directory.exists() else "it does not exist"
            remedy = "create it, or set daemon.state_directory"
            raise Misconfigured("use state directory", str(state_directory), reason=what, remedy=remedy)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sign(descriptor)
        except BlockingIOError:
            reason = f"another aiidpd uses it ({_holder(descriptor)})"
            os.close(descriptor)
            raise Misconfigured(
                "use state directory", str(state_directory), reason=reason, remedy=_ANOTHER
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise _unusable(path, error) from error
        return cls(descriptor, path)

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _sign(descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        # The lock holds all the same, and a daemon must start on a full disk to report that it is full.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def _holder(descriptor: int) -> str:
    pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return f"pid {pid}" if pid.isdigit() else "its pid is not written yet"


def _unusable(path: Path, error: OSError) -> Misconfigured:
    remedy = f"let uid {os.geteuid()} write to {path.parent}, or set daemon.state_directory"
    return Misconfigured("lock", str(path), reason=error.strerror or str(error), remedy=remedy)
