"""Results of the programs (pure): what was sent, what was read back, and why it failed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """Reasons for which a program fails that differ in what is to be done."""

    NO_REPOSITORY = "no_repository"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 -- the name of a failure
    LOCKED = "locked"
    INCOMPLETE = "incomplete"
    FULL = "full"
    UNREACHABLE = "unreachable"
    DAMAGED = "damaged"
    ENDED = "ended"
    GARBAGE = "garbage"
    OTHER = "other"


REMEDIES = {
    Failure.NO_REPOSITORY: "see that the address is right, then `aiidpctl backup offsite init NAME`",
    Failure.WRONG_PASSWORD: "correct the credential aiidpd.offsite.repositories.NAME.password, then reload",
    Failure.LOCKED: "wait until the other program has ended; stale locks are removed by themselves",
    Failure.INCOMPLETE: "run it again: the next run sends what is missing",
    Failure.FULL: "free space at the repository, or let fewer snapshots stay (keep_last and so on)",
    Failure.UNREACHABLE: "see that the network, the server and the credentials work; it is tried again",
    Failure.DAMAGED: "see docs/offsite.md, 'Damage': repair it by the program itself, then `aiidpctl backup "
    "offsite verify NAME`",
    Failure.ENDED: "see the kernel's log for a lack of memory, then run it again",
    Failure.GARBAGE: "see that the program is the one that it should be, and which version it is",
    Failure.OTHER: "see what it printed, and try the command of docs/offsite.md by hand",
}


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign of life of a program: ``done`` of ``total`` bytes, 0 of 0 where it gives none."""

    done: int = 0
    total: int = 0
    files_done: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """End of an upload: bytes that are new there, all bytes and files of the snapshot, its id there."""

    snapshot: str
    new_bytes: int
    bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Checked:
    """End of a verification: ``read`` of ``total`` were read back, in ``unit`` (packs or files).

    ``damage`` names what is not as it should be, empty where all is well; it is bounded.
    """

    read: int
    total: int
    unit: str
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """End of a program: its exit code, negative for a signal, and the last of what it printed as errors."""

    code: int
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """Failure with what the program printed about it, in one bounded line."""

    failure: Failure
    words: str


LONGEST_WORDS = 400  # characters


def words_of(lines: tuple[str, ...]) -> str:
    """Return ``lines`` as one bounded line of printable characters, the end of it where it is long."""
    text = " ".join(" ".join(lines).split())
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown[-LONGEST_WORDS:]
