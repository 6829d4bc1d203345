"""Components of the daemon: the only list of them, a line each."""

from __future__ import annotations

from typing import Final

from aiidpd.component import Spec
from aiidpd.components.audit import component as audit
from aiidpd.components.backup import component as backup
from aiidpd.components.bench import component as bench
from aiidpd.components.containers import component as containers
from aiidpd.components.engines import component as engines
from aiidpd.components.models import component as models
from aiidpd.components.physics import component as physics
from aiidpd.components.thermal import component as thermal

COMPONENTS: Final[tuple[Spec, ...]] = (
    thermal.SPEC,
    containers.SPEC,
    engines.SPEC,
    backup.SPEC,
    models.SPEC,
    bench.SPEC,
    physics.SPEC,
    audit.SPEC,
)
