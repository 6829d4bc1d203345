"""Notifications to systemd: the only module that imports sdnotify, and it mends that library's two faults.

sdnotify loses a message that is not latin-1, so statuses are made ASCII here; and it can block for ever
on a full socket, so the socket is made here and never waits.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from sdnotify import SystemdNotifier

_STATUS_LIMIT = 1000  # characters; a datagram has a bound, and a status is one line


class _Channel(SystemdNotifier):  # type: ignore[misc]  # the library ships no types
    """sdnotify's sender on a socket that does not wait; its errors are raised."""

    def __init__(self, address: str) -> None:
        # The library's own constructor reads the process environment and makes a socket that blocks.
        self.debug = True
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.setblocking(False)
        try:
            self.socket.connect("\0" + address[1:] if address.startswith("@") else address)
        except BaseException:
            self.socket.close()
            raise


class Notifier:
    """Sends state to the service manager; without one every method does nothing.

    Nothing here waits or raises. A message of state (ready, reloading, stopping, status) that could not be
    sent is owed, and goes out before the next one; a watchdog message is not: only its time counts.
    """

    def __init__(self, address: str | None, watchdog_interval: float | None = None) -> None:
        self._address = address
        self._channel: _Channel | None = None
        self._owed: dict[str, str] = {}
        self.watchdog_interval = watchdog_interval
        self.problem: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Notifier:
        """Return a notifier for ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.

        ``watchdog_interval`` is then the seconds after which systemd acts on silence: send at least twice
        in it. It is None where no watchdog is set, or where it is set for another process.
        """
        return cls(environ.get("NOTIFY_SOCKET") or None, _watchdog_interval(environ))

    @property
    def supervised(self) -> bool:
        """True where a service manager listens."""
        return self._address is not None

    def ready(self) -> None:
        """Report that the start, or a reload, is complete."""
        self._state("READY=1")

    def reloading(self) -> None:
        """Report that a reload has begun; :meth:`ready` ends it."""
        # by the time Type=notify-reload knows this reload from an earlier one; older versions ignore it
        self._state(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")

    def stopping(self) -> None:
        """Report that the stop has begun."""
        self._state("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the one line that ``systemctl status`` shows."""
        self._owe("status", f"STATUS={_one_line(text)}")

    def extend_timeout(self, seconds: float) -> None:
        """Request ``seconds`` from now for a start or stop that is under way."""
        self._owe("extend", f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def watchdog(self) -> None:
        """Report that the process lives, and send what is owed."""
        self._pay()
        if self.watchdog_interval is not None:
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket."""
        if self._channel is not None:
            self._channel.socket.close()
            self._channel = None

    def _state(self, message: str) -> None:
        self._owe(message.partition("=")[0], message)

    def _owe(self, key: str, message: str) -> None:
        if self._address is None:
            return
        self._owed.pop(key, None)  # the newest of a kind counts, and takes its place at the end
        self._owed[key] = message
        self._pay()

    def _pay(self) -> None:
        while self._owed:
            key = next(iter(self._owed))
            if not self._send(self._owed[key]):
                return
            del self._owed[key]

    def _send(self, message: str) -> bool:
        if self._address is None:
            return False
        try:
            if self._channel is None:
                self._channel = _Channel(self._address)
            self._channel.notify(message)
        except BlockingIOError:
            self.problem = f"cannot notify {self._address}: the service manager does not read its socket"
            return False
        except OSError as error:
            self.problem = f"cannot notify {self._address}: {error.strerror or error}"
            self.close()  # the next message looks for the socket again
            return False
        self.problem = None
        return True


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line.encode("ascii", "backslashreplace").decode("ascii")[:_STATUS_LIMIT]


def _watchdog_interval(environ: Mapping[str, str]) -> float | None:
    owner = environ.get("WATCHDOG_PID", "")
    if owner and owner != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        return None
    return int(text) / 1_000_000
