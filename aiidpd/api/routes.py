"""The table of routes: what each is called, who may use it, what it takes, gives and does."""

from __future__ import annotations

from http import HTTPStatus

from aiidpd.api import alert_schema, follow, gpu_schema, hold, readings, record, schema
from aiidpd.api.access import Access
from aiidpd.api.route import Answer, Call, Route
from aiidpd.kernel.errors import NotFound


async def _status(call: Call) -> Answer:
    return readings.status(call.services)


async def _events(call: Call) -> Answer:
    query: schema.EventsQuery = call.query
    if query.follow:
        return follow.events(call.services, query)
    found = await follow.past(call.services, query, after_id=query.after_id, limit=query.limit)
    return schema.EventsDocument(events=[schema.EventDocument.model_validate(event) for event in found])


async def _alerts(call: Call) -> Answer:
    found = call.services.alerts()
    return alert_schema.AlertsDocument(
        alerts=[alert_schema.AlertDocument.model_validate(alert) for alert in found]
    )


async def _gpus(call: Call) -> Answer:
    return readings.gpus(call.services)


def _driver(call: Call) -> hold.DriverHold:
    if call.services.gpu_hold is None:
        raise NotFound("release", "the GPUs", reason="this daemon has no GPU worker")
    return call.services.gpu_hold


async def _release(call: Call) -> Answer:
    return await hold.release(_driver(call), call.body)


async def _resume(call: Call) -> Answer:
    driver = _driver(call)
    driver.resume()
    return hold.document(driver)


async def _containers(call: Call) -> Answer:
    return readings.containers(call.services)


async def _snapshots(call: Call) -> Answer:
    return readings.backup(call.services)


async def _bench_results(call: Call) -> Answer:
    return readings.bench(call.services)


async def _jobs(call: Call) -> Answer:
    found = call.services.jobs.all()
    return schema.JobsDocument(jobs=[schema.JobDocument.model_validate(status) for status in found])


async def _job(call: Call) -> Answer:
    work = call.services.jobs.get(call.path["id"])
    if call.query.follow:
        return follow.job(work)
    return schema.JobDocument.model_validate(work.status)


async def _run_backup(call: Call) -> Answer:
    work = call.services.queues["backup"].submit()
    return schema.JobDocument.model_validate(work.status)


async def _run_bench(call: Call) -> Answer:
    request: schema.BenchRequest = call.body
    if request.endpoint is None:
        work = call.services.queues["bench"].submit()
    else:
        known = [endpoint.name for endpoint in readings.bench(call.services).endpoints]
        if known and request.endpoint not in known:
            remedy = f"name one of {', '.join(known)}"
            raise NotFound("measure", request.endpoint, reason="there is no such endpoint", remedy=remedy)
        work = call.services.queues["bench"].submit(endpoint=request.endpoint)
    return schema.JobDocument.model_validate(work.status)


async def _config(call: Call) -> Answer:
    entries = call.services.config_entries()
    return schema.ConfigDocument(
        entries=[schema.ConfigEntry(key=key, value=value, origin=origin) for key, value, origin in entries]
    )


async def _reload(call: Call) -> Answer:
    return schema.ReloadDocument(changed=list(await call.services.reload()))


ROUTES = (
    Route(
        "GET",
        "/v1/status",
        Access.READ,
        _status,
        "How the daemon and each worker fare, and what is wrong now.",
        schema.StatusDocument,
    ),
    Route(
        "GET",
        "/v1/events",
        Access.READ,
        _events,
        "What happened and was decided; with follow=true first the recorded events, then each new one.",
        schema.EventsDocument,
        query=schema.EventsQuery,
        lines=(schema.EventDocument, schema.Heartbeat, schema.Missed),
    ),
    Route(
        "GET",
        "/v1/alerts",
        Access.READ,
        _alerts,
        "What fires or is about to.",
        alert_schema.AlertsDocument,
    ),
    Route("GET", "/v1/gpus", Access.READ, _gpus, "The last reading of each GPU.", gpu_schema.GpusDocument),
    Route(
        "POST",
        "/v1/gpus/release",
        Access.CHANGE,
        _release,
        "Let go of the NVIDIA driver, so that it can be upgraded; answers once it is free.",
        hold.HoldDocument,
        body=hold.ReleaseRequest,
    ),
    Route(
        "POST",
        "/v1/gpus/resume",
        Access.CHANGE,
        _resume,
        "Take hold of the NVIDIA driver again.",
        hold.HoldDocument,
        body=schema.NothingAsked,
    ),
    Route(
        "GET",
        "/v1/containers",
        Access.READ,
        _containers,
        "Every container of the engine.",
        schema.ContainersDocument,
    ),
    Route(
        "GET",
        "/v1/backup/snapshots",
        Access.READ,
        _snapshots,
        "The snapshots, the last run and the next.",
        schema.BackupDocument,
    ),
    Route(
        "POST",
        "/v1/backup/runs",
        Access.CHANGE,
        _run_backup,
        "Back up now.",
        schema.JobDocument,
        body=schema.NothingAsked,
        status=HTTPStatus.ACCEPTED,
    ),
    Route(
        "GET",
        "/v1/bench/results",
        Access.READ,
        _bench_results,
        "The last measurement of each endpoint.",
        schema.BenchDocument,
    ),
    Route(
        "POST",
        "/v1/bench/runs",
        Access.CHANGE,
        _run_bench,
        "Measure one endpoint, or all, now.",
        schema.JobDocument,
        body=schema.BenchRequest,
        status=HTTPStatus.ACCEPTED,
    ),
    Route(
        "GET",
        "/v1/jobs",
        Access.READ,
        _jobs,
        "The jobs that this process was asked for.",
        schema.JobsDocument,
    ),
    Route(
        "GET",
        "/v1/jobs/{id}",
        Access.READ,
        _job,
        "One job; with follow=true again whenever it changes, to its end.",
        schema.JobDocument,
        query=schema.JobQuery,
        lines=(schema.JobDocument, schema.Heartbeat),
    ),
    Route(
        "GET",
        "/v1/config",
        Access.READ,
        _config,
        "Every setting in force and what set it.",
        schema.ConfigDocument,
    ),
    Route(
        "POST",
        "/v1/config/reload",
        Access.CHANGE,
        _reload,
        "Read the configuration again and apply all of it, or nothing.",
        schema.ReloadDocument,
        body=schema.NothingAsked,
    ),
    *record.ROUTES,
)
"""Every route but ``/v1/openapi.json``, which describes them."""
