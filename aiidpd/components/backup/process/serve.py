"""Work for a request: a function of a module for each kind, which is loaded only then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.protocol import Line, Request

_WORK: Final[Mapping[str, str]] = {
    "run": "run:back_up",
    "verify": "verify:verify",
    "summary": "summary:summarize",
    "catalog": "catalog:catalog",
    "restore": "restore:restore",
    "drill": "drill:hold",
    "prune": "prune:prune",
    "pin": "pinning:change_pin",
}


def serve(request: Request, control: Control) -> Line:
    """Carry out ``request`` and return the line with its result.

    Raises :class:`AiidpdError` for work that failed, :class:`Cancelled` where it was ordered to stop.
    """
    module, _, name = _WORK[request.kind].partition(":")
    work: Callable[[Any, Control], Any] = getattr(import_module(f"{__package__}.{module}"), name)
    return Line(**{request.kind: work(request, control)})
