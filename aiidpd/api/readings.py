"""The documents of the readings: from the workers' last views to what the API gives.

The views are looked at by attribute: this room knows what they say, not the rooms that say it.
"""

from __future__ import annotations

from typing import Any, TypeVar

from aiidpd.api import gpu_schema, schema
from aiidpd.api.document import Reading
from aiidpd.api.services import Services
from aiidpd.kernel.events import Severity
from aiidpd.kernel.task import WorkerStatus

_Reading = TypeVar("_Reading", bound=Reading)


def status(services: Services) -> schema.StatusDocument:
    """Return the daemon at one look."""
    now = services.clock.time()
    workers = services.supervisor.statuses
    findings = services.health.findings()
    return schema.StatusDocument(
        version=services.version,
        now=now,
        started_at=services.started_at,
        uptime_seconds=max(0.0, now - services.started_at),
        healthy=all(worker.up for worker in workers)
        and not any(finding.severity >= Severity.ERROR for finding in findings),
        simulated=any(worker.simulated for worker in workers),
        workers=[schema.WorkerDocument.model_validate(worker) for worker in workers],
        findings=[schema.FindingDocument.model_validate(finding) for finding in findings],
    )


def gpus(services: Services) -> gpu_schema.GpusDocument:
    """Return the last reading of the GPUs."""
    view, common = _reading(services, "gpus", "thermal")
    return _document(gpu_schema.GpusDocument, view, common)


def containers(services: Services) -> schema.ContainersDocument:
    """Return the last reading of the containers."""
    view, common = _reading(services, "containers", "containers")
    if view is not None:
        common["unreadable"] = [{"id": key, "name": name} for key, name in view.unreadable]
    document = _document(schema.ContainersDocument, view, common)
    pauses = {each.id: schema.PauseDocument.model_validate(each) for each in services.pauses()}
    return document.model_copy(
        update={
            "containers": tuple(
                each.model_copy(update={"pause": pauses.get(each.id)}) for each in document.containers
            )
        }
    )


def backup(services: Services) -> schema.BackupDocument:
    """Return the state of backups."""
    view, common = _reading(services, "backup", "backup")
    if view is not None:
        common["reason"] = view.reason or common["reason"]
    return _document(schema.BackupDocument, view, common)


def bench(services: Services) -> schema.BenchDocument:
    """Return the last measurement of each endpoint, and what its engine tells."""
    view, common = _reading(services, "bench", "bench")
    if view is not None:
        common["reason"] = view.note or common["reason"]
        engines = services.views["engines"].get()
        told = {each.name: each for each in engines.value.engines} if engines else {}
        own = schema.EndpointDocument.model_fields.keys() - {"engine"}
        common["endpoints"] = [
            {name: getattr(each, name) for name in own} | {"engine": told.get(each.name)}
            for each in view.endpoints
        ]
    return _document(schema.BenchDocument, view, common)


def _reading(services: Services, view: str, worker: str) -> tuple[Any, dict[str, Any]]:
    """Return the last reading, None where there is no current one, and what a document says about it."""
    reading = services.views[view].get()
    known = {status.name: status for status in services.supervisor.statuses}
    status = known.get(worker, WorkerStatus(worker))
    reason = status.reason
    if reading is None and not reason:
        reason = f"worker {worker} is {status.state}: no reading yet, or the last one is too old to be true"
    common = {
        "read_at": reading.at if reading else None,
        "reason": reason,
        "simulated": getattr(reading.value, "simulated", status.simulated) if reading else status.simulated,
    }
    return reading.value if reading else None, common


def _document(kind: type[_Reading], view: Any, common: dict[str, Any]) -> _Reading:
    """Return the document of ``view``: what ``common`` does not say is taken from its attributes."""
    own = {} if view is None else {name: getattr(view, name) for name in kind.model_fields.keys() - common}
    return kind.model_validate(own | common)
