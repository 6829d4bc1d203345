from __future__ import annotations

from aiidpd.api.document import parse
from aiidpd.components.containers.evidence.running import NOT_READ, ContainerEvidence
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.incidents.api import IncidentContainers
from aiidpd.incidents.evidence import Moment
from aiidpd.kernel.latest import Latest
from tests.fakes.clock import FakeClock


def test_before_anything_was_read_it_says_so(clock: FakeClock) -> None:
    documents = ContainerEvidence(Latest(clock, 100.0)).documents(Moment.BEGINNING)
    assert documents == {"containers": {"read_at": None, "reason": NOT_READ, "containers": []}}
    parse(IncidentContainers, documents["containers"])


def test_the_containers_that_run_when_it_begins_and_nothing_at_its_end(clock: FakeClock) -> None:
    latest: Latest[RuntimeSnapshot] = Latest(clock, 100.0)
    evidence = ContainerEvidence(latest)
    running = ContainerReading("c1", "vllm", "image", "running", health="healthy", gpu=True)
    waits = ContainerReading("c2", "paused", "image", "paused")
    latest.put(RuntimeSnapshot((running, waits, ContainerReading("c3", "old", "image", "exited")), "28"))
    (document,) = evidence.documents(Moment.BEGINNING).values()
    parse(IncidentContainers, document)
    assert (document["read_at"], document["reason"]) == (clock.time(), "")
    assert [each["name"] for each in document["containers"]] == ["vllm", "paused"]
    assert document["containers"][0] == {
        "id": "c1",
        "name": "vllm",
        "image": "image",
        "state": "running",
        "health": "healthy",
        "gpu": True,
    }
    assert evidence.documents(Moment.END) == {}
