"""The routes of what is kept of the GPUs: incidents, energy, history."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from aiidpd.api import record_schema, schema
from aiidpd.api.access import Access
from aiidpd.api.route import Answer, Call, Route, Stream
from aiidpd.api.services import GpuRecord
from aiidpd.kernel.errors import Unavailable

_BREATH = 200  # rows between two moments in which the loop may do something else


async def _incidents(call: Call) -> Answer:
    return record_schema.IncidentsDocument.model_validate({"incidents": await _record(call).incidents()})


async def _incident(call: Call) -> Answer:
    found = await _record(call).incident(call.path["id"], call.query.points)
    return record_schema.IncidentDocument.model_validate(found)


async def _energy(call: Call) -> Answer:
    return record_schema.EnergyDocument.model_validate(_record(call).energy())


async def _history(call: Call) -> Answer:
    query: record_schema.GpuHistoryQuery = call.query
    rows = aiter(_record(call).history(query.gpu, query.since, query.until))
    # The first row now: what is wrong with the question is an answer of its own, not a stream that breaks.
    first = await anext(rows, None)

    async def lines() -> Stream:
        if first is None:
            return
        yield record_schema.GpuHistoryRow.model_validate(first)
        count = 0
        async for row in rows:
            yield record_schema.GpuHistoryRow.model_validate(row)
            count += 1
            if count % _BREATH == 0:
                await anyio.lowlevel.checkpoint()

    return lines()


def _record(call: Call) -> GpuRecord:
    record = call.services.gpu_record
    if record is None:
        raise Unavailable("read", "the record of the GPUs", reason="this daemon keeps none")
    return record


ROUTES = (
    Route(
        "GET",
        "/v1/gpus/energy",
        Access.READ,
        _energy,
        "The energy of GPUs, containers and generated tokens, and what it cost.",
        record_schema.EnergyDocument,
    ),
    Route(
        "GET",
        "/v1/gpus/history",
        Access.READ,
        _history,
        "The history of one GPU, a line each: every reading of the last hour, a line a minute before.",
        record_schema.GpuHistoryRow,
        query=record_schema.GpuHistoryQuery,
        lines=(record_schema.GpuHistoryRow, schema.Heartbeat),
    ),
    Route(
        "GET",
        "/v1/incidents",
        Access.READ,
        _incidents,
        "The incidents that the flight recorder keeps.",
        record_schema.IncidentsDocument,
    ),
    Route(
        "GET",
        "/v1/incidents/{id}",
        Access.READ,
        _incident,
        "One incident: what ran, what happened around it, and the readings of each GPU.",
        record_schema.IncidentDocument,
        query=record_schema.IncidentQuery,
    ),
)
"""Part of :data:`aiidpd.api.routes.ROUTES`."""
