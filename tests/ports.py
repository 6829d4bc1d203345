"""Loopback ports for servers that must be told theirs before they listen."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_given: set[int] = set()


def free_port() -> int:
    """Return a loopback port that nobody listens on, another one each time.

    It lies below those that the kernel gives to whoever asks for any, connecting clients among them, so that
    nobody takes it by chance before its server does, or while that server is stopped.
    """
    end = int(_RANGE.read_text().split()[0])
    choice = random.SystemRandom()  # tests seed the common one
    while True:
        port = choice.randrange(_LOWEST, end) if end > 2 * _LOWEST else 0
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port
