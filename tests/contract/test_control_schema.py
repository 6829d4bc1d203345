"""The control API's documents, and what each is made from, say the same."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from pydantic import TypeAdapter

from aiidpd.alerts.api import AlertDocument
from aiidpd.alerts.manager import ActiveAlert
from aiidpd.api.document import SnapshotResponse
from aiidpd.api.jobs import JobDocument
from aiidpd.components.backup.api import BackupDocument, RunResultDocument, StoreDocument
from aiidpd.components.backup.view import BackupView, RunResult, StoreInfo
from aiidpd.components.bench.api import BenchDocument, EndpointDocument, EngineDocument
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.components.containers.api import ContainerDocument, ContainersDocument, PauseDocument
from aiidpd.components.containers.pause.state import PauseView
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.engines.api import EnginesDocument, EngineStateDocument
from aiidpd.components.thermal.api.gpus import GpusDocument
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.daemon.api import ConditionDocument, WorkerDocument
from aiidpd.daemon.reference import every_route
from aiidpd.history.api import EventDocument
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Event
from aiidpd.kernel.jobs import JobStatus
from aiidpd.kernel.task import WorkerStatus

OF_ONE_ALONE = frozenset(  # or of nobody: arguments and environment may hold secrets
    [
        "pid",
        "error",
        "network_mode",
        "execs",
        "failing_streak",
        "image_id",
        "checked",
        "mounts",
        "inspection",
        "labels",
        "arguments",
        "environment",
        "addresses",
    ]
)
NONE: frozenset[str] = frozenset()
COMMON = frozenset(field.name for field in fields(SnapshotResponse))
# (document, what its fields are copied from, what only the document has, what only the other has)
PAIRS: list[tuple[type, type, frozenset[str], frozenset[str]]] = [
    (EventDocument, Event, NONE, NONE),
    (ConditionDocument, Condition, NONE, NONE),
    (AlertDocument, ActiveAlert, NONE, NONE),
    (JobDocument, JobStatus, NONE, NONE),
    (WorkerDocument, WorkerStatus, frozenset({"up"}), NONE),  # up is a property
    (GpusDocument, GpuSnapshot, COMMON - {"simulated"}, NONE),
    # The pause and the word for its state are aiidpd's own, not the engine's.
    (ContainerDocument, ContainerReading, frozenset({"pause", "phase"}), OF_ONE_ALONE),
    (ContainersDocument, RuntimeSnapshot, COMMON - {"simulated"}, NONE),
    (PauseDocument, PauseView, NONE, frozenset({"id", "name"})),
    (RunResultDocument, RunResult, NONE, frozenset({"ended"})),  # in monotonic seconds
    (BackupDocument, BackupView, COMMON - {"reason"}, frozenset({"last_prune", "catalog"})),  # of others
    (StoreDocument, StoreInfo, NONE, NONE),
    # The monotonic time of a probe means nothing outside of the process; note becomes the reason.
    (EndpointDocument, EndpointView, frozenset({"engine"}), frozenset({"probed"})),
    # So it is with that of a poll; the rest stands beside it, in the endpoint's own document.
    (
        EngineDocument,
        EngineState,
        NONE,
        # The rest of it is in EngineStateDocument.
        frozenset(
            {"name", "model", "simulated", "uncounted_tokens", "read", "lasting", "container", "url", "steps"}
            | {"longest_prompt_tokens", "pending_since", "model_bytes", "model_gpu_bytes"}
            | {"verdict", "verdict_since", "verdict_reason", "requests_finished", "requests_cut"}
            | {"version", "worked", "draft_tokens", "accepted_tokens"}
        ),
    ),
    (
        EngineStateDocument,
        EngineState,
        frozenset({"polls"}),
        frozenset(
            {"uncounted_tokens", "read", "lasting", "pending_since", "requests_finished", "requests_cut"}
            | {"worked", "draft_tokens", "accepted_tokens"}
        ),
    ),
    (EnginesDocument, EnginesView, COMMON, NONE),
    (BenchDocument, BenchView, COMMON, frozenset({"note"})),
]
# Given in another form on purpose: a severity by its name, pairs as objects, states as their words.
OTHER_FORM = {"severity", "unreadable", "state", "stage", "condition"}


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
    given: type, source: type, added: frozenset[str], left_out: frozenset[str]
) -> None:
    ours, theirs = types_of(given), types_of(source)
    assert set(ours) - added == set(theirs) - left_out
    compared = set(ours) - added - OTHER_FORM
    assert {name: ours[name] for name in compared} == {name: theirs[name] for name in compared}


def test_a_document_can_not_be_changed_once_it_was_given() -> None:
    for route in every_route():
        for kind in (route.answer, route.query, route.body, *route.lines):
            if kind is not None:
                assert kind.__dataclass_params__.frozen  # type: ignore[union-attr]
                assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)
