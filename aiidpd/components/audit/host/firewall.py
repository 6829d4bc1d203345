"""Packet filter of this machine, as `iptables -S` lists it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from typing import Final

from aiidpd.components.audit.facts import Firewall
from aiidpd.kernel.errors import Unavailable

_PATHS: Final = ("/usr/sbin/iptables", "/sbin/iptables")
_SECONDS: Final = 5.0
_REFUSED: Final = frozenset({"DROP", "REJECT"})
_MOST: Final = 20_000  # rules


def read_firewall(run: Callable[[], str] | None = None) -> Firewall:
    """Return what the packet filter does. Blocks at most 5 s; raises :class:`Unavailable`."""
    return parse((run or _listed)().splitlines())


def parse(lines: Iterable[str]) -> Firewall:
    """Return what the rules in ``lines`` do, as ``iptables -S`` writes them; never raises."""
    closed = filtered = False
    name = ""
    for _, line in zip(range(_MOST), lines, strict=False):
        words = line.split()
        if len(words) < 3:  # noqa: PLR2004 -- a command, a chain and more
            if words[:1] == ["-N"]:
                name = name or _owner(words[-1])
            continue
        command, chain = words[0], words[1]
        if command == "-P" and chain == "INPUT":
            closed = closed or words[2] in _REFUSED
        elif command == "-A":
            target = words[words.index("-j") + 1] if "-j" in words[:-1] else ""
            if chain == "DOCKER-USER" and target in _REFUSED:
                filtered = True
            if chain == "INPUT" and target in _REFUSED and len(words) == 4:  # noqa: PLR2004 -- without a condition
                closed = True
    return Firewall(name or ("iptables" if closed else ""), closed, filtered)


def _owner(chain: str) -> str:
    if chain.startswith("ufw-"):
        return "ufw"
    return "firewalld" if chain.startswith(("IN_public", "INPUT_ZONES", "INPUT_direct")) else ""


def _listed() -> str:
    for path in _PATHS:
        try:
            done = subprocess.run(  # noqa: S603 -- a fixed path and option
                [path, "-S"], capture_output=True, check=False, timeout=_SECONDS, env={"LC_ALL": "C"}
            )
        except FileNotFoundError:
            continue
        except subprocess.TimeoutExpired:
            raise _unread(f"iptables did not answer for {_SECONDS:g} s") from None
        except OSError as error:
            raise _unread((error.strerror or "error").lower()) from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise _unread(said[0][:200] if said else f"iptables ended with code {done.returncode}")
        return done.stdout.decode(errors="replace")
    raise _unread("iptables is not installed")


def _unread(reason: str) -> Unavailable:
    return Unavailable(
        "read",
        "the packet filter",
        reason=reason,
        remedy="as root, see `iptables -S DOCKER-USER`: packets to published ports pass that chain alone",
    )
