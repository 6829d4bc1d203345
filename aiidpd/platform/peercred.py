"""Peer at the other end of a Unix socket, as the kernel noted it when it connected."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from aiidpd.kernel.errors import Misconfigured

_SO_PEERGROUPS = 59  # Linux 4.13; the module socket does not name it
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_MOST = 1024  # bytes: what getsockopt takes at most


@dataclass(frozen=True, slots=True)
class Peer:
    """A process as it was when it connected; ``groups`` are its supplementary groups."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()

    def in_group(self, gid: int) -> bool:
        """Return whether it belongs to group ``gid``."""
        return gid == self.gid or gid in self.groups


def peer_of(connection: socket.socket) -> Peer:
    """Return who connected to the Unix socket that accepted ``connection``."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid & 0xFFFFFFFF, gid & 0xFFFFFFFF, _groups(connection, uid, gid))


def user_ids(users: Iterable[str | int], *, key: str) -> frozenset[int]:
    """Return the numbers of ``users`` (names or numbers), which the setting ``key`` lists.

    Raises:
        Misconfigured: the machine has no user of that name.
    """
    return frozenset(user if isinstance(user, int) else _uid(user, key) for user in users)


def _groups(connection: socket.socket, uid: int, gid: int) -> frozenset[int]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST)
    except OSError:  # more groups than fit, or an old kernel: what the user database holds instead
        try:
            return frozenset(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
        except KeyError:
            return frozenset()
    return frozenset(number for (number,) in struct.iter_unpack("I", raw))


def _uid(name: str, key: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        remedy = "create the user, name another, or give a number"
        raise Misconfigured("use", key, reason=f"there is no user {name!r}", remedy=remedy) from None
