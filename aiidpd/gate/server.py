"""Listener of the gate: who may connect, and how many at a time."""

from __future__ import annotations

import os
import pwd
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from aiidpd.gate.holds import Holds
from aiidpd.gate.load import SettingsFile
from aiidpd.gate.log import WARNING, Log
from aiidpd.gate.message import write_error
from aiidpd.gate.session import Limits, Peer, Session
from aiidpd.gate.settings import WrongSettings
from aiidpd.gate.wire import linger, send

CONNECTIONS: Final = 64
"""Clients at a time: the daemon has about ten connections."""

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
_STACK: Final = 256 * 1024  # bytes of a thread
_REFUSAL: Final = 0.1  # seconds to read a refusal at the door
_REFUSALS: Final = 4  # at a time
_BACKLOG: Final = 64
_NO_DESCRIPTOR: Final = 0.05  # seconds
_LIMITS: Final = Limits()


class Server:
    """Accepts on ``listener``, and serves each client in a thread."""

    def __init__(
        self,
        listener: socket.socket,
        settings: SettingsFile,
        log: Log,
        limits: Limits = _LIMITS,
        connections: int = CONNECTIONS,
    ) -> None:
        self._listener = listener
        self._settings = settings
        self._log = log
        self._limits = limits
        self._holds = Holds()
        self._room = threading.BoundedSemaphore(connections)
        self._door = threading.BoundedSemaphore(_REFUSALS)

    def run(self, interval: float | None, alive: Callable[[], object], *, until: int | None = None) -> None:
        """Serve, calling ``alive`` every ``interval`` seconds, until the descriptor ``until`` is readable."""
        threading.stack_size(_STACK)
        self._listener.setblocking(False)
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        if until is not None:
            poll.register(until, select.POLLIN)
        while True:
            ready = poll.poll(None if interval is None else interval * 1000)
            if any(descriptor == until for descriptor, _ in ready):
                return
            alive()
            if ready:
                self._accept()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            time.sleep(_NO_DESCRIPTOR)  # it has left already, or waits in the backlog for one
            return
        peer = peer_of(client)
        try:
            users = user_ids(self._settings.read().users)
        except WrongSettings as error:
            self._turn_away(client, 503, f"its configuration is wrong: {error}")
            return
        if peer.uid not in users:
            self._turn_away(client, 403, f"user {peer.uid} may not use it", peer)
            return
        session = Session(client, peer, self._settings, self._log, self._limits, holds=self._holds)
        if not self._start(self._room, session.run):
            self._turn_away(client, 503, "all of its connections are in use", peer)

    def _start(self, room: threading.BoundedSemaphore, work: Callable[[], None]) -> bool:
        """Have a thread do ``work``; return whether there is ``room`` for it."""

        def run() -> None:
            try:
                work()
            finally:
                room.release()

        if not room.acquire(blocking=False):
            return False
        try:
            threading.Thread(target=run, daemon=True).start()
        except RuntimeError:
            room.release()
            return False
        return True

    def _turn_away(self, client: socket.socket, status: int, reason: str, peer: Peer | None = None) -> None:
        who = "" if peer is None else f" for uid {peer.uid} pid {peer.pid}"
        self._log.line(WARNING, f"denied a connection{who}: {reason}")

        def refuse() -> None:
            with client:
                try:
                    send(client, write_error(status, reason, close=True), _REFUSAL)
                except OSError:
                    return
                linger(client)

        if not self._start(self._door, refuse):
            client.close()  # too many at once hear nothing


def peer_of(connection: socket.socket) -> Peer:
    """Return the process at the other end of a Unix socket."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid & 0xFFFFFFFF)


def user_ids(users: Iterable[str | int]) -> frozenset[int]:
    """Return the numbers of ``users`` that this machine has, and root's."""
    found = {0}
    for user in users:
        if isinstance(user, int):
            found.add(user)
        else:
            try:
                found.add(pwd.getpwnam(user).pw_uid)
            except KeyError:
                continue
    return frozenset(found)


def listen(path: str) -> socket.socket:
    """Listen on a new socket at ``path``, for its owner and group. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(listener.fileno(), 0o600)  # its file is never open wider than this
        listener.bind(path)
        os.chmod(path, 0o660)  # noqa: PTH101 -- pathlib is not loaded here
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def handed_over() -> socket.socket | None:
    """Return the listener that systemd has handed over, None where it has not."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=3)


class Manager:
    """systemd, as far as it is told that the gate is ready and alive; without it nothing happens."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = os.environ.get("WATCHDOG_USEC", "")
        self.interval = int(usec) / 3e6 if usec.isascii() and usec.isdigit() and int(usec) else None

    def say(self, message: str) -> None:
        """Send a message; one that can't be sent is lost."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            try:
                channel.sendto(message.encode("ascii"), self._address)
            except OSError:
                return
