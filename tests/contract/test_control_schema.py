"""The control API's documents and the dataclasses that they are made from say the same."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from aiidpd.api import document, gpu_schema, record_schema, schema
from aiidpd.components.backup.view import BackupView, RunProgress, RunResult, SnapshotInfo
from aiidpd.components.bench.stats import BenchSample, Withheld
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.engines.state import EngineState
from aiidpd.components.thermal.export import HistoryRow
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import Fan, GpuProcess, GpuReading, GpuSnapshot, MigInstance, XidCount
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.engines.target import EngineTimings
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Event
from aiidpd.kernel.jobs import JobStatus
from aiidpd.kernel.task import WorkerStatus

COMMON = frozenset(document.Reading.model_fields)
# (document, dataclass, what only the document has, what only the dataclass has)
PAIRS: list[tuple[type[document.Document], type, frozenset[str], frozenset[str]]] = [
    (schema.EventDocument, Event, frozenset(), frozenset()),
    (schema.FindingDocument, Condition, frozenset(), frozenset()),
    (schema.JobDocument, JobStatus, frozenset(), frozenset()),
    (schema.WorkerDocument, WorkerStatus, frozenset({"up"}), frozenset()),  # up is a property
    (gpu_schema.GpuDocument, GpuReading, frozenset(), frozenset()),
    (gpu_schema.FanDocument, Fan, frozenset(), frozenset()),
    (gpu_schema.GpuProcessDocument, GpuProcess, frozenset(), frozenset()),
    (gpu_schema.MigInstanceDocument, MigInstance, frozenset(), frozenset()),
    (gpu_schema.XidCountDocument, XidCount, frozenset(), frozenset()),
    (gpu_schema.XidEventDocument, XidEvent, frozenset(), frozenset()),
    (gpu_schema.GpuFaultDocument, GpuFault, frozenset(), frozenset()),
    (gpu_schema.GpusDocument, GpuSnapshot, COMMON - {"simulated"}, frozenset()),
    (record_schema.GpuHistoryRow, HistoryRow, frozenset(), frozenset()),
    # The pause is aiidpd's own, not the engine's.
    (schema.ContainerDocument, ContainerReading, frozenset({"pause"}), frozenset()),
    (schema.ContainersDocument, RuntimeSnapshot, COMMON - {"simulated"}, frozenset()),
    (schema.SnapshotDocument, SnapshotInfo, frozenset(), frozenset()),
    (schema.RunProgressDocument, RunProgress, frozenset(), frozenset()),
    (schema.RunResultDocument, RunResult, frozenset(), frozenset()),
    (schema.BackupDocument, BackupView, COMMON - {"reason"}, frozenset()),
    (schema.EngineTimingsDocument, EngineTimings, frozenset(), frozenset()),
    (schema.WithheldDocument, Withheld, frozenset(), frozenset()),
    (schema.BenchSampleDocument, BenchSample, frozenset(), frozenset()),
    # The monotonic time of a probe means nothing outside of the process; note becomes the reason.
    (schema.EndpointDocument, EndpointView, frozenset({"engine"}), frozenset({"probed"})),
    # So it is with a look; the rest stands beside it, in the endpoint's own document.
    (
        schema.EngineDocument,
        EngineState,
        frozenset(),
        frozenset({"name", "model", "simulated", "uncounted_tokens", "read", "lasting"}),
    ),
    (schema.BenchDocument, BenchView, COMMON, frozenset({"note"})),
]
# What is told in another form on purpose: a severity by its name, pairs as objects, states as their words.
OTHER_FORM = {"severity", "unreadable", "state"}


def types_of(source: type) -> dict[str, Any]:
    """Return the JSON type of each field, without names, defaults and descriptions."""
    properties = TypeAdapter(source).json_schema(mode="serialization")["properties"]
    return {name: _bare(each) for name, each in properties.items()}


def _bare(node: Any) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            return "another"
        return {
            key: _bare(value) for key, value in node.items() if key not in ("title", "default", "description")
        }
    return [_bare(value) for value in node] if isinstance(node, list) else node


@pytest.mark.parametrize(
    ("given", "source", "added", "left_out"), PAIRS, ids=lambda each: getattr(each, "__name__", "")
)
def test_a_document_has_the_fields_and_types_of_its_source(
    given: type[document.Document], source: type, added: frozenset[str], left_out: frozenset[str]
) -> None:
    ours, theirs = types_of(given), types_of(source)
    assert set(ours) - added == set(theirs) - left_out
    compared = set(ours) - added - OTHER_FORM
    assert {name: ours[name] for name in compared} == {name: theirs[name] for name in compared}


def test_every_document_made_from_a_dataclass_is_compared() -> None:
    compared = {given for given, *_ in PAIRS}
    made_here = {
        document.Document,
        document.Reading,
        schema.StatusDocument,
        schema.EventsDocument,
        schema.JobsDocument,
        schema.Heartbeat,
        schema.Missed,
        schema.PauseDocument,
        schema.UnreadableContainer,
        schema.ConfigEntry,
        schema.ConfigDocument,
        schema.ReloadDocument,
        schema.ProblemDocument,
    }
    everything = {
        each
        for module in (document, schema, gpu_schema)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, document.Document)
    }
    # What is kept of the GPUs is made from dictionaries, but for its rows.
    assert everything == (compared - {record_schema.GpuHistoryRow}) | made_here
