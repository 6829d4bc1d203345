"""Guard of a daemon, put together with what it reads of others."""

from __future__ import annotations

from typing import TypeVar

from aiidpd.component import Context
from aiidpd.components.bench.alone.prober import AloneProber
from aiidpd.components.bench.guard.guard import Guard
from aiidpd.components.bench.guard.run import GuardViews
from aiidpd.components.bench.guard.store import FOLDER, UpgradeStore
from aiidpd.contracts.containers import CONTAINER_USE, CONTAINERS
from aiidpd.contracts.engines import ENGINES
from aiidpd.contracts.gpus import GPUS
from aiidpd.contracts.probes import ENDPOINTS
from aiidpd.contracts.trials import IMAGE_TRIALS
from aiidpd.kernel.views import View

T = TypeVar("T")


def make_guard(context: Context, prober: AloneProber) -> Guard:
    """Return the guard of the daemon; ``prober`` sends requests where nobody else is served."""

    def get(view: View[T]) -> T | None:
        reading = context.views.get(view)
        return None if reading is None else reading.value

    return Guard(
        UpgradeStore(context.state_directory / FOLDER),
        messages=context.messages,
        trials=lambda: get(IMAGE_TRIALS),
        gpus=lambda: get(GPUS),
        endpoints=lambda: get(ENDPOINTS) or (),
        views=GuardViews(lambda: get(ENGINES), lambda: get(CONTAINERS), lambda: get(CONTAINER_USE)),
        clock=context.clock,
        publish=context.publish,
        prober=prober,
    )
