"""Work for a request: a function for each kind."""

from __future__ import annotations

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.drill import Drill
from aiidpd.components.backup.process.protocol import (
    DrillRequest,
    Line,
    Request,
    RestoreRequest,
    RunRequest,
    VerifyRequest,
)
from aiidpd.components.backup.process.restore import Restore
from aiidpd.components.backup.process.run import BackupRun
from aiidpd.components.backup.process.summary import summarize
from aiidpd.components.backup.process.verify import Verification


def serve(request: Request, control: Control) -> Line:
    """Carry out ``request`` and return the line with its result.

    Raises :class:`AiidpdError` for work that failed, :class:`Cancelled` where it was ordered to stop.
    """
    if isinstance(request, RunRequest):
        return Line(run=BackupRun(request, control).execute())
    if isinstance(request, VerifyRequest):
        return Line(verify=Verification(request, control).execute())
    if isinstance(request, RestoreRequest):
        return Line(restore=Restore(request, control).execute())
    if isinstance(request, DrillRequest):
        return Line(drill=Drill(request, control).execute())
    return Line(summary=summarize(request, control))
