"""The control API's documents and the dataclasses that they are made from say the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from aiidpd.alerts.api import AlertDocument, AlertsDocument
from aiidpd.api.document import Document, Heartbeat, ProblemDocument, SnapshotResponse
from aiidpd.api.jobs import JobDocument, JobsDocument
from aiidpd.components.backup.api import (
    BackupDocument,
    RunProgressDocument,
    RunResultDocument,
    SnapshotDocument,
)
from aiidpd.components.backup.view import BackupView, RunProgress, RunResult, SnapshotInfo
from aiidpd.components.bench.api import (
    BenchDocument,
    BenchSampleDocument,
    EndpointDocument,
    EngineDocument,
    EngineTimingsDocument,
    WithheldDocument,
)
from aiidpd.components.bench.stats import BenchSample, Withheld
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.components.containers.api import (
    ContainerDocument,
    ContainersDocument,
    PauseDocument,
    UnreadableContainer,
)
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.engines.state import EngineState
from aiidpd.components.thermal.api import energy as energy_api
from aiidpd.components.thermal.api.gpus import (
    FanDocument,
    GpuDocument,
    GpuFaultDocument,
    GpuProcessDocument,
    GpusDocument,
    HoldDocument,
    MigInstanceDocument,
    XidCountDocument,
    XidEventDocument,
)
from aiidpd.components.thermal.api.history import GpuHistoryRow, HistoryRow
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import Fan, GpuProcess, GpuReading, GpuSnapshot, MigInstance, XidCount
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.daemon.api import (
    ConditionDocument,
    ConfigDocument,
    ConfigEntry,
    ReloadDocument,
    StatusDocument,
    WorkerDocument,
)
from aiidpd.engines.target import EngineTimings
from aiidpd.history.api import EventDocument, EventsDocument, Missed
from aiidpd.incidents import api as incidents_api
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Event
from aiidpd.kernel.jobs import JobStatus
from aiidpd.kernel.task import WorkerStatus

COMMON = frozenset(SnapshotResponse.model_fields)
# (document, dataclass, what only the document has, what only the dataclass has)
PAIRS: list[tuple[type[Document], type, frozenset[str], frozenset[str]]] = [
    (EventDocument, Event, frozenset(), frozenset()),
    (ConditionDocument, Condition, frozenset(), frozenset()),
    (JobDocument, JobStatus, frozenset(), frozenset()),
    (WorkerDocument, WorkerStatus, frozenset({"up"}), frozenset()),  # up is a property
    (GpuDocument, GpuReading, frozenset(), frozenset()),
    (FanDocument, Fan, frozenset(), frozenset()),
    (GpuProcessDocument, GpuProcess, frozenset(), frozenset()),
    (MigInstanceDocument, MigInstance, frozenset(), frozenset()),
    (XidCountDocument, XidCount, frozenset(), frozenset()),
    (XidEventDocument, XidEvent, frozenset(), frozenset()),
    (GpuFaultDocument, GpuFault, frozenset(), frozenset()),
    (GpusDocument, GpuSnapshot, COMMON - {"simulated"}, frozenset()),
    (GpuHistoryRow, HistoryRow, frozenset(), frozenset()),
    # The pause is aiidpd's own, not the engine's.
    (ContainerDocument, ContainerReading, frozenset({"pause"}), frozenset()),
    (ContainersDocument, RuntimeSnapshot, COMMON - {"simulated"}, frozenset()),
    (SnapshotDocument, SnapshotInfo, frozenset(), frozenset()),
    (RunProgressDocument, RunProgress, frozenset(), frozenset()),
    (RunResultDocument, RunResult, frozenset(), frozenset({"ended"})),  # in monotonic seconds
    (BackupDocument, BackupView, COMMON - {"reason"}, frozenset()),
    (EngineTimingsDocument, EngineTimings, frozenset(), frozenset()),
    (WithheldDocument, Withheld, frozenset(), frozenset()),
    (BenchSampleDocument, BenchSample, frozenset(), frozenset()),
    # The monotonic time of a probe means nothing outside of the process; note becomes the reason.
    (EndpointDocument, EndpointView, frozenset({"engine"}), frozenset({"probed"})),
    # So it is with a look; the rest stands beside it, in the endpoint's own document.
    (
        EngineDocument,
        EngineState,
        frozenset(),
        frozenset({"name", "model", "simulated", "uncounted_tokens", "read", "lasting"}),
    ),
    (BenchDocument, BenchView, COMMON, frozenset({"note"})),
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
    given: type[Document], source: type, added: frozenset[str], left_out: frozenset[str]
) -> None:
    ours, theirs = types_of(given), types_of(source)
    assert set(ours) - added == set(theirs) - left_out
    compared = set(ours) - added - OTHER_FORM
    assert {name: ours[name] for name in compared} == {name: theirs[name] for name in compared}


def test_every_document_made_from_a_dataclass_is_compared() -> None:
    compared = {given for given, *_ in PAIRS}
    made_here = {
        Document,
        SnapshotResponse,
        StatusDocument,
        EventsDocument,
        JobsDocument,
        Heartbeat,
        Missed,
        PauseDocument,
        UnreadableContainer,
        ConfigEntry,
        ConfigDocument,
        ReloadDocument,
        ProblemDocument,
        HoldDocument,
        AlertDocument,
        AlertsDocument,
    }
    assert set(_derived(Document)) - _FROM_DICTIONARIES | {Document} == compared | made_here


# What is kept of incidents and of energy is made from dictionaries.
_FROM_DICTIONARIES = {
    each
    for module in (incidents_api, energy_api)
    for each in vars(module).values()
    if isinstance(each, type) and each.__module__ == module.__name__
}


def _derived(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        if each.__module__.startswith("aiidpd."):
            yield each
            yield from _derived(each)
