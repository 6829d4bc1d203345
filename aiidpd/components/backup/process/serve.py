"""Work for a request: a function for each kind."""

from __future__ import annotations

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.protocol import Line, Request
from aiidpd.components.backup.process.run import BackupRun


def serve(request: Request, control: Control) -> Line:
    """Carry out ``request`` and return the line with its result.

    Raises :class:`AiidpdError` for work that failed, :class:`Cancelled` where it was ordered to stop.
    """
    return Line(run=BackupRun(request, control).execute())
