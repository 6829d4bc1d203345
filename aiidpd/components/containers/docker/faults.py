"""Faults between aiidpd and the Docker Engine, in words that a person can act on (pure)."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiidpd.kernel.errors import NotInstalled, Unavailable

_BAD_REQUEST = 400
_FORBIDDEN = 403
_CONFLICT = 409
_SERVER_ERROR = 500
UNAVAILABLE: Final = 503
NO_ENGINE: Final = re.compile(r"aiidpd-gate: (there is no engine at /.*)", re.DOTALL)
"""Answer of aiidpd-gate, with status 503, where the engine's socket is not there."""
_NO_SUCH = re.compile(r"No such \w+: |network \S+ not found|get \S+: no such volume")


@dataclass(frozen=True, slots=True)
class Faults:
    """Makes the errors of the engine behind ``socket``, whose calls may take ``call_timeout`` seconds."""

    socket: Path
    call_timeout: float

    def hung(self, action: str, within: float | None = None) -> Unavailable:
        """Return the error for an engine that accepts and does not answer ``within`` so many seconds."""
        return self._error(
            action,
            f"it did not answer within {self.call_timeout if within is None else within:g} s",
            "see `journalctl -u docker`; a hung engine needs `systemctl restart docker`",
        )

    def closed(self, action: str) -> Unavailable:
        """Return the error for a connection that ended before the answer did."""
        return self._error(
            action, "it closed the connection in mid-answer", "see `journalctl -u docker` if it stays so"
        )

    def unreachable(self, action: str, number: int | None, text: str) -> Unavailable:
        """Return the error for a connection that cannot be made; ``number`` is its errno."""
        if number in (errno.EACCES, errno.EPERM):
            reason = "permission denied on the socket"
            remedy = (
                "add the daemon's user to the socket's group (`usermod -aG docker aiidpd`), restart aiidpd"
            )
        elif number in (errno.ENOENT, errno.ENOTDIR):
            remedy = "start Docker (`systemctl start docker`) or set containers.socket"
            return NotInstalled(action, self._subject, reason="there is no such socket", remedy=remedy)
        elif number in (errno.ECONNREFUSED, errno.ENOTSOCK) and not self.socket.is_socket():
            reason, remedy = "it is not a socket", "set containers.socket to the socket of a Docker Engine"
        elif number == errno.ECONNREFUSED:
            reason, remedy = "nothing listens on the socket", "start Docker (`systemctl start docker`)"
        else:
            reason, remedy = f"the connection broke ({text:.120})", "see `journalctl -u docker`"
        return self._error(action, reason, remedy)

    def refused(self, action: str, status: int, message: str) -> Unavailable:
        """Return the error for an answer with HTTP ``status`` from 400 on."""
        if status == UNAVAILABLE and (absent := NO_ENGINE.fullmatch(message)):
            remedy = "start Docker (`systemctl start docker`), or set engine in /etc/aiidpd/gate.toml"
            return NotInstalled(action, self._subject, reason=f"{absent[1]:.200}", remedy=remedy)
        if status >= _SERVER_ERROR:
            return self._error(
                action, f"it reports error {status}: {message:.200}", "see `journalctl -u docker`"
            )
        if status == _FORBIDDEN:
            return self._error(
                action,
                f"it denies the request: {message:.200}",
                "allow this call in the authorization plugin or proxy that guards the socket",
            )
        if status in (_BAD_REQUEST, _CONFLICT) or _NO_SUCH.match(message):
            return self._error(action, f"it refuses: {message:.300}", "see `journalctl -u docker`")
        return self.foreign(action, f"status {status}: {message}")

    def contradicted(self, action: str, message: str) -> Unavailable:
        """Return the error for an answer that there is no such container, where there is."""
        remedy = "try again: another call may be at it; see `journalctl -u docker`"
        return self._error(action, f"it has the container, and refuses: {message:.300}", remedy)

    def foreign(self, action: str, answer: str) -> Unavailable:
        """Return the error for an answer that no Docker Engine gives."""
        return self._error(
            action,
            f"it answers, but not as a Docker Engine does ({' '.join(answer.split()):.120})",
            "check that containers.socket names the socket of a Docker Engine",
        )

    def _error(self, action: str, reason: str, remedy: str) -> Unavailable:
        return Unavailable(action, self._subject, reason=reason, remedy=remedy)

    @property
    def _subject(self) -> str:
        return f"the Docker Engine at {self.socket}"
