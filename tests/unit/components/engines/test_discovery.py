"""Engines that the configuration names and those in containers, each found once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from aiidpd.components.engines.conditions import LABEL, update_conditions
from aiidpd.components.engines.discovery import NOT_RUNNING, PAUSED, SWITCHED_OFF, Discovery, FoundEngine
from aiidpd.components.engines.settings import EngineServer
from aiidpd.contracts.containers import ContainerSummary
from aiidpd.contracts.probes import Endpoint
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from tests.fakes.clock import FakeClock

VLLM = ContainerSummary(
    "f" * 64,
    "vllm",
    "vllm/vllm-openai:v0.11.0",
    "running",
    None,
    gpu=True,
    running=True,
    started_at=100.0,
    arguments=("--served-model-name", "llama", "--api-key", "SECRET,OTHER"),
    addresses={8000: "127.0.0.1:9000"},
)
LOCAL = Endpoint("local", "http://localhost:9000/v1", "llama", simulated=False)


def server(name: str = "s", **values: Any) -> EngineServer:
    return EngineServer.model_construct(
        **{
            "name": name,
            "url": "",
            "engine": "",
            "container": "",
            "may_sleep": "unknown",
            "api_key": None,
            **values,
        }
    )


def find(
    *containers: ContainerSummary,
    endpoints: tuple[Endpoint, ...] = (),
    servers: tuple[EngineServer, ...] = (),
) -> tuple[FoundEngine, ...]:
    return Discovery().find(endpoints, servers, containers)


def labelled(**labels: str) -> ContainerSummary:
    return replace(VLLM, labels={f"aiidpd.engine{name}": value for name, value in labels.items()})


def test_one_in_a_container_is_found_by_its_image() -> None:
    (found,) = find(VLLM, replace(VLLM, id="e" * 64, name="db", image="postgres:16", arguments=()))
    assert (found.name, found.profile, found.url) == ("vllm", "vllm", "http://127.0.0.1:9000")
    assert (found.model, found.container, found.run, found.off) == ("llama", VLLM.id, 100.0, "")
    assert found.api_key == "SECRET"
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize("url", ["http://localhost:9000/v1", "http://127.0.0.1:9000", "http://[::1]:9000/"])
def test_an_endpoint_and_its_container_are_one(url: str) -> None:
    (found,) = find(VLLM, endpoints=(replace(LOCAL, url=url),))
    assert (found.name, found.profile, found.url, found.container) == ("local", "vllm", url, VLLM.id)
    assert found.start is not None


def test_two_endpoints_of_one_server_are_two_engines_of_one_container() -> None:
    found = find(VLLM, endpoints=(LOCAL, replace(LOCAL, name="other", model="b")))
    assert [(each.name, each.model, each.container) for each in found] == [
        ("local", "llama", VLLM.id),
        ("other", "b", VLLM.id),
    ]


def test_endpoints_elsewhere_and_simulated_ones_stand_for_themselves() -> None:
    remote = Endpoint("remote", "https://gpu.lan/v1", "m", simulated=False, api_key="k")
    made_up = Endpoint("made-up", "", "", simulated=True)
    found = find(VLLM, endpoints=(remote, made_up))
    assert [each.name for each in found] == ["remote", "made-up", "vllm"]
    assert (found[0].container, found[0].profile, found[0].api_key) == ("", "", "k")
    assert found[1].simulated
    assert (found[0].address, found[1].address) == (("gpu.lan", 443), None)


def test_a_container_that_does_not_run_or_is_paused_is_there_and_not_polled() -> None:
    (stopped,) = find(replace(VLLM, state="exited", running=False, addresses={}))
    assert (stopped.off, stopped.profile) == (NOT_RUNNING, "vllm")
    (paused,) = find(replace(VLLM, state="paused"))
    assert paused.off == PAUSED
    (running,) = find(VLLM)
    assert paused.polled_alike == running.polled_alike


def test_its_port_is_that_of_its_command_line_and_one_that_cannot_be_reached_says_so() -> None:
    moved = replace(VLLM, arguments=("--port", "8123"), addresses={8123: "172.17.0.2:8123"})
    assert find(moved)[0].url == "http://172.17.0.2:8123"
    for arguments in (("--port", "8123"), ("--port", "nonsense")):
        (found,) = find(replace(VLLM, arguments=arguments))
        assert found.url == ""
        assert "port can't be reached" in found.off
    host = replace(VLLM, host_network=True, addresses={}, arguments=("--port", "8123"))
    assert find(host)[0].url == "http://127.0.0.1:8123"


def test_labels_say_what_the_image_does_not() -> None:
    own = replace(labelled(**{"": "llama.cpp", ".port": "8001"}), image="my/engine", arguments=())
    own = replace(own, addresses={8001: "127.0.0.1:7000"})
    (found,) = find(own)
    assert (found.profile, found.url, found.notes) == ("llama.cpp", "http://127.0.0.1:7000", ())
    (found,) = find(labelled(**{".url": "http://10.0.0.7:8000", ".may-sleep": "true"}))
    assert (found.url, found.may_sleep) == ("http://10.0.0.7:8000", True)


def test_one_that_is_to_be_left_alone_is_left_alone_also_as_an_endpoint() -> None:
    off = labelled(**{"": "off"})
    assert find(off) == ()
    (found,) = find(off, endpoints=(LOCAL,))
    assert (found.name, found.off) == ("local", SWITCHED_OFF)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ({"": "vlm"}, "aiidpd.engine is 'vlm', which is not one of vllm, llama.cpp"),
        ({".port": "80000"}, "aiidpd.engine.port is '80000'"),
        ({".port": "8000\x1b[31m"}, r"'8000\x1b[31m'"),
        ({".url": "ftp://x"}, "aiidpd.engine.url is 'ftp://x', which is not http://HOST:PORT"),
        ({".url": "http://user:password@h"}, "which is not http://HOST:PORT"),
        ({".url": "http://h/" + "x" * 60_000}, "which is not http://HOST:PORT"),
        ({".url": "http://h\n.lan/"}, "which is not http://HOST:PORT"),
        ({".may-sleep": "perhaps"}, "aiidpd.engine.may-sleep is 'perhaps', which is not yes or no"),
        ({".port": "9" * 60_000}, "999...'"),
    ],
)
def test_a_label_that_cannot_be_used_is_a_condition_and_the_rest_holds(
    labels: dict[str, str], shown: str
) -> None:
    (found,) = find(labelled(**labels))
    assert (found.profile, found.url, found.off) == ("vllm", "http://127.0.0.1:9000", "")
    assert found.may_sleep is (True if ".may-sleep" in labels else None)  # the one that harms nothing
    (note,) = found.notes
    assert shown in note
    assert len(note) < 200
    clock = FakeClock()
    conditions = Conditions(clock, EventBus())
    update_conditions(conditions, [found])
    assert [(each.type, each.subject, each.reason) for each in conditions.active()] == [(LABEL, "vllm", note)]
    update_conditions(conditions, find(VLLM))
    assert conditions.active() == ()


def test_a_container_of_no_engine_with_a_wrong_label_says_so_and_is_not_polled() -> None:
    (found,) = find(replace(labelled(**{"": "vlm"}), image="my/engine", arguments=()))
    assert (found.profile, found.url) == ("", "")
    assert "which is not one of" in found.off


def test_the_configuration_adds_to_an_endpoint_of_the_same_name_or_address() -> None:
    known = {"may_sleep": "yes", "api_key": SecretStr("k")}
    for own in (server("local", **known), server("x", url="http://127.0.0.1:9000", **known)):
        (found,) = find(endpoints=(LOCAL,), servers=(own,))
        assert (found.name, found.may_sleep, found.api_key) == ("local", True, "k")


def test_a_server_of_the_configuration_and_its_container() -> None:
    (found,) = find(VLLM, servers=(server(container="vllm"),))
    assert (found.name, found.container, found.url) == ("s", VLLM.id, "http://127.0.0.1:9000")
    (gone,) = find(servers=(server(container="vllm"),))
    assert gone.off == "there is no container vllm"
    (alone,) = find(servers=(server(url="http://127.0.0.1:8080", engine="llama.cpp"),))
    assert (alone.profile, alone.off) == ("llama.cpp", "")


def test_a_container_that_is_called_like_an_endpoint_has_a_name_of_its_own() -> None:
    elsewhere = replace(LOCAL, name="vllm", url="http://gpu.lan:8000")
    found = find(VLLM, endpoints=(elsewhere,))
    assert [each.name for each in found] == ["vllm", f"vllm@{'f' * 12}"]


def test_what_did_not_change_is_not_looked_at_anew() -> None:
    discovery = Discovery()
    (first,) = discovery.find((), (), [VLLM])
    (again,) = discovery.find((), (), [replace(VLLM)])
    assert first == again
    assert again.start is first.start
    (other,) = discovery.find((), (), [replace(VLLM, started_at=200.0)])
    assert other.polled_alike != first.polled_alike
    assert discovery.find((), (), []) == ()


texts = st.text(max_size=40)
containers = st.builds(
    ContainerSummary,
    st.uuids().map(lambda each: each.hex * 2),
    texts,
    st.one_of(texts, st.just(VLLM.image)),
    st.sampled_from(["running", "paused", "exited"]),
    st.none(),
    gpu=st.booleans(),
    running=st.booleans(),
    labels=st.dictionaries(
        st.sampled_from(
            ["aiidpd.engine", "aiidpd.engine.port", "aiidpd.engine.url", "aiidpd.engine.may-sleep"]
        ),
        st.one_of(texts, st.sampled_from(["vllm", "off", "8000", "http://127.0.0.1:1"])),
    ),
    arguments=st.lists(texts, max_size=4).map(tuple),
    addresses=st.dictionaries(st.integers(1, 65535), st.just("127.0.0.1:9000"), max_size=2),
    host_network=st.booleans(),
)


@given(st.lists(containers, max_size=6, unique_by=lambda each: each.id))
def test_whatever_containers_there_are_each_engine_has_its_own_name(found: list[ContainerSummary]) -> None:
    engines = find(*found, endpoints=(LOCAL,), servers=(server(container="vllm"),))
    names = [each.name for each in engines]
    assert len(names) == len(set(names))
    assert names[0] == "local"
    for each in engines:
        assert len(each.name) <= 220
        assert all(len(note) < 300 for note in each.notes)
