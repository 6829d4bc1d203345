"""Work for a request: a function for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.drill import Drill
from aiidpd.components.backup.process.pinning import change_pin
from aiidpd.components.backup.process.protocol import Line, Request
from aiidpd.components.backup.process.prune import Prune
from aiidpd.components.backup.process.restore import Restore
from aiidpd.components.backup.process.run import BackupRun
from aiidpd.components.backup.process.summary import summarize
from aiidpd.components.backup.process.verify import Verification

_WORK: Final[Mapping[str, Callable[[Any, Control], Line]]] = {
    "run": lambda request, control: Line(run=BackupRun(request, control).execute()),
    "verify": lambda request, control: Line(verify=Verification(request, control).execute()),
    "summary": lambda request, control: Line(summary=summarize(request, control)),
    "restore": lambda request, control: Line(restore=Restore(request, control).execute()),
    "drill": lambda request, control: Line(drill=Drill(request, control).execute()),
    "prune": lambda request, control: Line(prune=Prune(request, control).execute()),
    "pin": lambda request, control: Line(pin=change_pin(request, control)),
}


def serve(request: Request, control: Control) -> Line:
    """Carry out ``request`` and return the line with its result.

    Raises :class:`AiidpdError` for work that failed, :class:`Cancelled` where it was ordered to stop.
    """
    return _WORK[request.kind](request, control)
