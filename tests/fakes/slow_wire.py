"""A wire that takes time: a relay between two TCP ends that hands on each byte ``delay`` seconds later.

It stands for a longer way where the kernel has no netem. Of a real one it lacks jitter and loss.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator

_PIECE = 1 << 20


@contextlib.contextmanager
def slow_wire(port: int, delay: float) -> Iterator[int]:
    """Yield a port of this machine that leads to ``port``, ``delay`` seconds away in each direction."""
    ended, end = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener, ended, end:
        relay = threading.Thread(target=_relay, args=(listener, ended, port, delay), daemon=True)
        relay.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            end.close()
            relay.join()


def _relay(listener: socket.socket, ended: socket.socket, port: int, delay: float) -> None:
    """Relay until the other end of ``ended`` is closed."""
    opened: list[socket.socket] = []
    others: dict[socket.socket, socket.socket] = {}
    under_way: deque[tuple[float, socket.socket, bytes]] = deque()
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        ready, _, _ = select.select([listener, ended, *others], [], [], wait)
        while under_way and under_way[0][0] <= time.monotonic():
            _, target, data = under_way.popleft()
            with contextlib.suppress(OSError):  # it has gone meanwhile
                target.sendall(data) if data else target.shutdown(socket.SHUT_WR)
        if ended in ready:
            for each in opened:
                each.close()
            return
        for source in ready:
            if source is listener:
                near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", port))
                opened += (near, far)
                for each, other in ((near, far), (far, near)):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    others[each] = other
            else:
                _received(source, others, under_way, delay)


def _received(
    source: socket.socket,
    others: dict[socket.socket, socket.socket],
    under_way: deque[tuple[float, socket.socket, bytes]],
    delay: float,
) -> None:
    try:
        data = source.recv(_PIECE)
    except OSError:
        data = b""
    under_way.append((time.monotonic() + delay, others[source], data))
    if not data:
        del others[source]
