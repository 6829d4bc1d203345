"""Errors that a person can act on (pure): what could not be done, to what, why, and what to do next."""

from __future__ import annotations


class AiidpdError(Exception):
    """Base of every error that aiidpd raises on purpose.

    Its text reads ``cannot {action} {subject}: {reason}; {remedy}``, and the four parts stay
    available for machines (problem documents, conditions, the event history).
    """

    def __init__(self, action: str, subject: str, *, reason: str, remedy: str = "") -> None:
        self.action = action
        self.subject = subject
        self.reason = reason
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"cannot {self.action} {self.subject}".rstrip()
        tail = f"; {self.remedy}" if self.remedy else ""
        return f"{head}: {self.reason}{tail}"


class Misconfigured(AiidpdError):
    """A configuration or request that cannot be: a start ends with exit code 2, a reload changes nothing."""


class Unavailable(AiidpdError):
    """A part that aiidpd depends on does not answer now. A worker that raises it is degraded, not dead."""


class NotInstalled(Unavailable):
    """A part that is not on this machine at all: its library or its socket does not exist."""


class Inactive(Exception):
    """There is nothing to do, and nothing is wrong: switched off, or not installed. A worker reports why.

    Not an error of ours, but the end of a pass: the worker's state is then "inactive".
    """


class Conflict(AiidpdError):
    """A sound request that the present state does not allow."""


class NotFound(AiidpdError):
    """A request that names what does not exist."""


class Denied(AiidpdError):
    """A peer that may not make this request."""


class Invalid(AiidpdError):
    """A request that is wrong in itself."""


def describe(error: BaseException) -> str:
    """Return one line for ``error``: its own text, the texts of a group's members, or its type's name."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(describe(member) for member in error.exceptions))
    text = " ".join(str(error).split())
    if isinstance(error, AiidpdError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
