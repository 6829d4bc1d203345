"""Access: whether a peer may do what a request does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aiidpd.platform.peercred import Peer


class Access(StrEnum):
    """Two kinds of requests."""

    READ = "read"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """``owner`` is the user that the daemon runs as, ``admins`` are the users of ``control.admins``.

    ``readers`` is the group that owns the socket. All are numbers.
    """

    owner: int
    readers: int
    admins: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer to a request for access, and clauses for why not and what would help."""

    allowed: bool
    reason: str = ""
    remedy: str = ""


_YES = Decision(allowed=True)


def decide(policy: AccessPolicy, peer: Peer | None, access: Access) -> Decision:
    """Return whether ``peer`` may do ``access``; None is someone who can't be known."""
    if peer is None:
        return Decision(allowed=False, reason="the peer is not known", remedy="use the Unix socket")
    if peer.uid in (0, policy.owner) or peer.uid in policy.admins:
        return _YES
    member = peer.in_group(policy.readers)
    if access is Access.READ and member:
        return _YES
    may = "may only read" if member else "is not a member of the socket's group"
    remedy = "ask as root or as the daemon's user, or have the user added to control.admins"
    if access is Access.READ:
        remedy = "have the user added to the socket's group or to control.admins"
    return Decision(allowed=False, reason=f"user {peer.uid} {may}", remedy=remedy)
