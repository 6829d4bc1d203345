"""Listening sockets: on a path, with permissions that hold from the first moment, and on loopback TCP."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiidpd.kernel.errors import Misconfigured

LONGEST_PATH = 107  # bytes: sockaddr_un holds 108 with the zero that ends them
_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class UnixListener:
    """A listening Unix stream socket at ``path``, owned by group ``gid``."""

    socket: socket.socket
    path: Path
    gid: int
    _identity: tuple[int, int, int]

    def close(self) -> None:
        """Stop listening, and remove the path if it is still this socket's; can be called twice."""
        self.socket.close()
        try:
            if _identity(self.path.lstat()) == self._identity:
                self.path.unlink()
        except FileNotFoundError:
            pass  # somebody tidied up, which is what we were about to do


def listen_unix(path: Path, *, mode: int = 0o660, group: str | int | None = None) -> UnixListener:
    """Listen at ``path`` with permissions ``mode``, owned by ``group`` (name or number; None: the process's).

    A socket that nobody listens on any more is replaced; whatever else lies there stays. Nobody
    connects before mode and group are set. Raises :class:`Misconfigured`.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        reason = f"its path is {len(os.fsencode(path))} bytes long, and a socket's may have {LONGEST_PATH}"
        raise Misconfigured("listen on", str(path), reason=reason, remedy="choose a shorter folder")
    gid = None if group is None else _gid(path, group)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone_in(path.parent, path):
            _make_room(path)
            # The socket file takes the mode of the socket, so it is never wider than this; unlike the
            # umask it is not shared with the process's other threads.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(os.fspath(path))
            made = path.lstat()
            try:
                if gid is not None and gid != made.st_gid:
                    os.chown(path, -1, gid, follow_symlinks=False)
                path.chmod(mode)
                listener.listen(_BACKLOG)
            except BaseException:
                path.unlink()
                raise
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError):
            raise _explained(path, error, group) from error
        raise
    listener.setblocking(False)
    return UnixListener(listener, path, made.st_gid if gid is None else gid, _identity(made))


def listen_tcp(host: str, port: int) -> socket.socket:
    """Listen on ``host`` and ``port`` (0 takes a free one); raises :class:`Misconfigured`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        remedy = "choose another address or port, or stop what has it"
        raise Misconfigured("listen on", f"{host}:{port}", reason=reason, remedy=remedy) from error
    return listener


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    # A file system may give a fresh file the inode number of one just removed; the time distinguishes them.
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _gid(path: Path, group: str | int) -> int:
    if isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        remedy = f"create it (groupadd --system {group}), or name another"
        raise Misconfigured(
            "listen on", str(path), reason=f"there is no group {group!r}", remedy=remedy
        ) from None


@contextmanager
def _alone_in(folder: Path, path: Path) -> Iterator[None]:
    """Hold the folder's lock: two that start at once must not both take the path for stale."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        reason = "another instance is taking its folder at this moment"
        remedy = "give each instance its own runtime directory"
        raise Misconfigured("listen on", str(path), reason=reason, remedy=remedy) from None
    finally:
        os.close(descriptor)


def _make_room(path: Path) -> None:
    """Remove a stale socket at ``path``; raises :class:`Misconfigured` for anything else there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Misconfigured(
            "listen on",
            str(path),
            reason="something that is not a socket lies there",
            remedy="move it away, or choose another path; it was not touched",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(os.fspath(path))
    if answer == errno.ECONNREFUSED:
        path.unlink()
    elif answer != errno.ENOENT:
        # Zero and EAGAIN (its backlog is full) are a live listener; with any other answer we can't know.
        reason = "another process listens there"
        if answer not in (0, errno.EAGAIN):
            reason = f"a socket lies there that can't be tested for being in use ({os.strerror(answer)})"
        remedy = "stop the other instance, or give this one its own runtime directory"
        raise Misconfigured("listen on", str(path), reason=reason, remedy=remedy)


def _explained(path: Path, error: OSError, group: str | int | None) -> Misconfigured:
    reason = error.strerror or str(error)
    remedy = ""
    if error.errno == errno.ENOENT:
        reason, remedy = f"the folder {path.parent} does not exist", "create it, or choose another"
    elif error.errno in (errno.EPERM, errno.EACCES):
        remedy = f"give the daemon's user the right to write in {path.parent}"
        if group is not None:
            remedy += f" and make it a member of group {group}"
    return Misconfigured("listen on", str(path), reason=reason, remedy=remedy)
