"""Listening TCP sockets of this machine, as the kernel lists them."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_LISTEN: Final = "0A"
_MOST: Final = 4096
_WORD: Final = 8  # hex digits of 32 bits


@dataclass(frozen=True, slots=True, order=True)
class Socket:
    """A listening socket; ``inode`` tells it apart from a later one on the same port."""

    address: str
    port: int
    inode: int = 0


def listening(proc: Path = PROC) -> tuple[Socket, ...]:
    """Return every listening TCP socket of this network namespace. Blocks; raises :class:`OSError`."""
    found: set[Socket] = set()
    found.update(parse((proc / "net" / "tcp").read_text(errors="replace").splitlines()))
    with suppress(FileNotFoundError):  # without IPv6
        found.update(parse((proc / "net" / "tcp6").read_text(errors="replace").splitlines()))
    return tuple(sorted(found)[:_MOST])


def parse(lines: Iterable[str]) -> Iterator[Socket]:
    """Yield the listening sockets in lines of /proc/net/tcp or tcp6; lines of another form are left out."""
    for line in lines:
        words = line.split()
        if len(words) < 10 or words[3] != _LISTEN:  # noqa: PLR2004 -- its inode is the tenth
            continue
        host, _, port = words[1].partition(":")
        with suppress(ValueError, OSError, OverflowError):
            yield Socket(_address(host), int(port, 16), int(words[9]))


def _address(digits: str) -> str:
    """Return the address in ``digits``: words of 32 bits, each in the byte order of the machine."""
    if len(digits) not in (_WORD, 4 * _WORD):
        raise ValueError(digits)
    words = (bytes.fromhex(digits[at : at + _WORD])[::-1] for at in range(0, len(digits), _WORD))
    raw = b"".join(words)
    if len(raw) == 4:  # noqa: PLR2004 -- IPv4
        return socket.inet_ntop(socket.AF_INET, raw)
    return socket.inet_ntop(socket.AF_INET6, raw).removeprefix("::ffff:")
