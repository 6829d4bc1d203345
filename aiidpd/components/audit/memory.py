"""Memory of the audit, which outlives its tasks: what was read of this machine, and the last report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiidpd.components.audit.evaluate import Auditor
from aiidpd.components.audit.facts import HostFacts, Listener, ModelFacts
from aiidpd.components.audit.finding import Report
from aiidpd.components.audit.host.listeners import Listeners
from aiidpd.components.audit.state import AuditState, FindingRecords, Known, records, restored
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.latest import Latest
from aiidpd.platform.statefile import StateFile

STATE: Final = "audit.json"
LIMIT: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class AuditView:
    """Last report, and since when (Unix seconds) each finding is so."""

    report: Report
    since: Mapping[tuple[str, str, str], Known] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """True where the containers are made up."""
        return self.report.simulated


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that were read of this machine; None is not known, with the reason in ``reasons``."""

    host: HostFacts = field(default_factory=HostFacts)
    listeners: tuple[Listener, ...] | None = None
    models: tuple[ModelFacts, ...] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


class AuditMemory:
    """Owns the last report, what was read of this machine and the findings that are known."""

    def __init__(self, file: StateFile[FindingRecords], clock: Clock) -> None:
        self.latest: Latest[AuditView] = Latest(clock, max_age=math.inf)
        self.machine = Machine()
        self.auditor = Auditor()
        self.listeners = Listeners(clock)
        self.state = AuditState()
        self._file = file
        self._loaded = False

    @property
    def problem(self) -> str:
        """Why the last write of the state file failed, empty where it did not."""
        return self._file.problem

    @property
    def path(self) -> str:
        """Path of the state file."""
        return str(self._file.path)

    def load(self) -> None:
        """Take over what an earlier daemon knew, once. Blocks."""
        if self._loaded:
            return
        self._loaded = True
        found, _ = self._file.load_or_set_aside()
        if found is not None:
            self.state = restored(found)

    def put(self, state: AuditState) -> None:
        """Remember ``state``, and save it soon where it changed."""
        if state != self.state:
            self.state = state
            self._file.save_soon(records(state))

    def wait(self, seconds: float) -> None:
        """Wait until it is on the disk, at most ``seconds``. Blocks."""
        self._file.wait(seconds)
