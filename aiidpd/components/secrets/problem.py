"""Errors of the commands about keys: what could not be done, why, and what to do next; never a key."""

from __future__ import annotations

from aiidpd.api.client import ControlError
from aiidpd.cli.session import FAILED, USAGE


class SecretsError(ControlError):
    """Something that could not be done; the command ends with 1."""

    exit_code = FAILED

    def __init__(self, action: str, subject: str, *, reason: str, remedy: str = "") -> None:
        self.reason = reason
        tail = f"; {remedy}" if remedy else ""
        super().__init__(f"cannot {action} {subject}: {reason}{tail}")


class Refused(SecretsError):
    """Something that was requested wrongly; the command ends with 2."""

    exit_code = USAGE


def words(error: OSError) -> str:
    """Return the reason of an error of the operating system in small letters."""
    return (error.strerror or type(error).__name__).lower()
