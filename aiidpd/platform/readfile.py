"""Reading a small file that somebody else wrote, without being held up or filled up by it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from aiidpd.kernel.errors import Misconfigured


def read_small(path: Path, limit: int) -> bytes:
    """Return what the file at ``path`` holds, at most ``limit`` bytes of it.

    Raises :class:`Misconfigured` where it is missing, unreadable, larger, or no file at all (a named
    pipe would block the reader). A device is read, so that ``/dev/null`` is an empty file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
                raise _unreadable(path, f"it is {_kind(mode)}, not a file", "give the path of a file")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise _unreadable(path, "it does not exist", "create it, or correct the path") from None
    except PermissionError:
        user = os.geteuid()
        raise _unreadable(
            path, f"user {user} may not read it", "give that user the right to read it"
        ) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise _unreadable(path, str(why).lower(), "correct the path") from None
    if data is None or len(data) > limit:
        raise _unreadable(path, f"it is larger than {limit} bytes", "shorten it")
    return data


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    return next((words for test, words in kinds if test(mode)), "a device")


def _unreadable(path: Path, reason: str, remedy: str) -> Misconfigured:
    return Misconfigured("read", str(path), reason=reason, remedy=remedy)
