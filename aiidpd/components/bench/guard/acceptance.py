"""Acceptance of the new engine, by a process of its own that ends with whoever waits for it."""

from __future__ import annotations

from functools import partial

import anyio
import anyio.to_thread

from aiidpd.components.bench.accept.machine import UnknownGpu
from aiidpd.components.bench.accept.runner import SHIPPED, AcceptanceRequest, accept, read_profile
from aiidpd.components.bench.apart import Child
from aiidpd.components.bench.given import NotUsable
from aiidpd.components.bench.guard.document import CriterionRecord
from aiidpd.components.bench.guard.sides import EngineSide


async def accepted(side: EngineSide, url: str, profile: str) -> tuple[tuple[CriterionRecord, ...], str]:
    """Return the outcomes of the criteria, and why nothing could be measured, empty where something was.

    ``profile`` is the name of one that is shipped, or the text of another.
    """
    started: list[Child] = []
    try:
        text = await anyio.to_thread.run_sync(read_profile, profile) if profile in SHIPPED else profile
        asked = AcceptanceRequest(url, text, model=side.model, api_key=side.api_key or "")
        report = await anyio.to_thread.run_sync(
            partial(accept, asked, lambda _: None, started=started.append), abandon_on_cancel=True
        )
    except (NotUsable, UnknownGpu) as error:
        return (), str(error)
    finally:
        for process in started:
            process.kill()
    found = tuple(
        CriterionRecord(each.criterion.name, each.wanted, each.outcome.value, each.value, each.reason[:300])
        for each in report.verdicts
    )
    return found, report.problem
