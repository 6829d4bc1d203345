"""Addresses of the engine in a container, and of the one in its place."""

from __future__ import annotations

import pytest

from aiidpd.components.bench.guard.sides import EngineSide, find_engine, url_of
from aiidpd.contracts.containers import ContainerSummary, ContainersView
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.contracts.probes import Endpoint
from aiidpd.kernel.errors import Misconfigured

LLM = ContainerSummary(
    "c1", "llm", "llm:1", "running", None, gpu=True, running=True,
    addresses={8000: "127.0.0.1:80", 9000: "127.0.0.1:90"},
)  # fmt: skip
CONTAINERS = ContainersView((LLM,))


def find(endpoint: str = "", *engines: EngineState, endpoints: tuple[Endpoint, ...] = ()) -> EngineSide:
    return find_engine(
        "llm", endpoint, containers=CONTAINERS, engines=EnginesView(engines), endpoints=endpoints
    )


def engine(name: str, url: str, model: str = "m", container: str = "c1") -> EngineState:
    return EngineState(name, model, simulated=False, container=container, url=url)


def test_the_engine_in_the_container_is_found() -> None:
    found = find("", engine("other", "http://x", container="c2"), engine("llm", "http://127.0.0.1:80/v1"))
    assert found == EngineSide("llm", "http://127.0.0.1:80/v1", "m", 8000)


def test_its_endpoint_gives_key_and_model() -> None:
    own = Endpoint("llm", "http://127.0.0.1:80", "served", simulated=False, api_key="k")
    found = find("", engine("llm", "http://127.0.0.1:80", model=""), endpoints=(own,))
    assert (found.model, found.api_key) == ("served", "k")


def test_one_that_is_named_is_taken() -> None:
    own = Endpoint("proxy", "http://10.0.0.1", "served", simulated=False)
    assert find("proxy", endpoints=(own,)) == EngineSide("proxy", "http://10.0.0.1", "served")


@pytest.mark.parametrize("endpoint", ["", "nobody"])
def test_none_is_an_error_with_what_to_do(endpoint: str) -> None:
    with pytest.raises(Misconfigured, match="--endpoint"):
        find(endpoint)


def test_the_new_one_is_at_the_same_port_inside() -> None:
    side = EngineSide("llm", "http://127.0.0.1:80/v1", "m", 8000)
    assert url_of(side, {8000: "127.0.0.1:40000", 9000: "127.0.0.1:40001"}) == "http://127.0.0.1:40000/v1"
    assert url_of(side, {}) == side.url
