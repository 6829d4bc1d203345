"""Inboxes: messages that wait for a component, and are not lost while its task is replaced."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, Final, Generic, TypeVar

import anyio

from aiidpd.kernel.clock import Clock
from aiidpd.kernel.messages import Message

MOST_WAITING: Final = 64

MessageT = TypeVar("MessageT", bound=Message)


class Inbox(Generic[MessageT]):
    """Messages of one kind that wait for one receiver; made once, it outlives the receiving task.

    It holds at most ``limit``: then the oldest is lost, and ``lost`` counts it.
    """

    def __init__(self, limit: int) -> None:
        self._waiting: deque[MessageT] = deque(maxlen=limit)
        self.arrived = anyio.Event()
        self.lost = 0

    def put(self, message: MessageT) -> None:
        """Append ``message`` (called by :meth:`Messages.send`)."""
        if len(self._waiting) == self._waiting.maxlen:
            self.lost += 1
        self._waiting.append(message)
        self.arrived.set()

    def first(self) -> MessageT | None:
        """Return the oldest message, or None; it stays until :meth:`done`: a restarted task finds it."""
        return self._waiting[0] if self._waiting else None

    def done(self, message: MessageT) -> None:
        """Remove ``message``; one that is no longer there is no error."""
        if message in self._waiting:
            self._waiting.remove(message)
        if not self._waiting:
            self._emptied()

    def take(self) -> list[MessageT]:
        """Remove and return all messages, the oldest first: for a receiver whose state outlives its runs."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._emptied()
        return taken

    def _emptied(self) -> None:
        # One that is not set yet may be waited for: whoever does would wait for ever on one that is replaced.
        if self.arrived.is_set():
            self.arrived = anyio.Event()


class Messages:
    """Delivers each message to every inbox of its kind, or of a kind that it derives from."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inboxes: list[tuple[type[Message], Inbox[Any]]] = []

    def inbox(self, kind: type[MessageT], limit: int = MOST_WAITING) -> Inbox[MessageT]:
        """Return a new inbox for messages of ``kind``; a component makes its own once, when it is built."""
        inbox: Inbox[MessageT] = Inbox(limit)
        self._inboxes.append((kind, inbox))
        return inbox

    def send(self, message: Message) -> int:
        """Put ``message`` into each inbox of its kind, and return into how many. Never waits."""
        message = replace(message, sent_at=self._clock.monotonic())
        takers = [inbox for kind, inbox in self._inboxes if isinstance(message, kind)]
        for inbox in takers:
            inbox.put(message)
        return len(takers)
