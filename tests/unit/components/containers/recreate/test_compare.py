"""A copy that differs in anything at all is found out, and one that does not is not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.recreate.compare import differences, in_words
from aiidpd.components.containers.recreate.plan import Plan, make_plan
from tests.unit.components.containers.recreate.recorded import created, original

OLD = original()
PLAN = make_plan(OLD, image="model:1")
NEW = created(dict(PLAN.body), {each.network: each.endpoint for each in PLAN.connections}, OLD)

# What a container has of its own, whatever it was made of.
OWN = {
    ("Config", "Hostname"),
    ("NetworkSettings", "Networks", "rcx-net", "NetworkID"),
}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list) and value:
        for key, each in enumerate(value):
            yield from leaves(each, (*path, key))
    else:
        yield path


def other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case _:
            return ["x"]


ASSIGNED = {
    "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen",
    "IPv6Gateway", "MacAddress", "NetworkID", "DNSNames", "Mode",
}  # fmt: skip
COMPARED = [
    path
    for path in leaves({key: NEW[key] for key in ("Config", "HostConfig", "Image", "Path", "Args", "Mounts")})
    if path[-1] not in ASSIGNED
] + [
    ("NetworkSettings", *path)
    for path in leaves({"Networks": NEW["NetworkSettings"]["Networks"]})
    if path[-1] not in ASSIGNED and NEW["NetworkSettings"]["Networks"] and path[-2:] != ("Aliases", 1)
]


def test_a_faithful_copy_has_no_difference() -> None:
    assert differences(OLD, NEW, PLAN) == ()
    assert len(COMPARED) > 150


@pytest.mark.parametrize("path", COMPARED, ids=lambda path: ".".join(map(str, path)))
def test_a_change_in_any_field_is_named(path: tuple[Any, ...]) -> None:
    new = copy.deepcopy(NEW)
    *way, last = path
    at: Any = new
    for key in way:
        at = at[key]
    at[last] = other(at[last])
    found = differences(OLD, new, PLAN)
    assert found, path
    assert all(each.split(".")[0] == path[0] for each in found)


@given(st.sampled_from(["Config", "HostConfig"]), st.text(min_size=1), st.integers(1) | st.text(min_size=1))
def test_keys_of_a_newer_engine_go_to_the_copy_and_are_compared(part: str, key: str, value: object) -> None:
    old = original()
    if key in old[part]:
        return
    old[part][key] = value
    plan = make_plan(old, image="model:1")
    sent = plan.body if part == "Config" else plan.body["HostConfig"]
    assert sent[key] == value
    whole = created(dict(plan.body), {each.network: each.endpoint for each in plan.connections}, old)
    assert differences(old, whole, plan) == ()
    assert differences(old, NEW, plan) == (f"{part}.{key}",)


def test_an_endpoint_of_a_newer_engine_is_compared_too() -> None:
    old = original()
    old["NetworkSettings"]["Networks"]["rcx-net2"]["GwPriority"] = 5
    plan = make_plan(old, image="model:1")
    (second,) = plan.connections
    assert second.endpoint["GwPriority"] == 5
    assert differences(old, NEW, plan) == ("NetworkSettings.Networks.rcx-net2",)


def test_an_empty_list_of_hidden_paths_is_not_the_same_as_none() -> None:
    for key in ("MaskedPaths", "ReadonlyPaths"):
        old = original()
        old["HostConfig"][key] = []
        plan = make_plan(old, image="model:1")
        new = created(dict(plan.body), {each.network: each.endpoint for each in plan.connections}, old)
        assert differences(old, new, plan) == ()
        new["HostConfig"][key] = None
        assert differences(old, new, plan) == (f"HostConfig.{key}",)


def test_the_order_of_what_compose_sorts_makes_no_difference_to_it_alone() -> None:
    new = copy.deepcopy(NEW)
    new["Config"]["Env"] = [*reversed(new["Config"]["Env"]), "affinity:container==old"]
    new["HostConfig"]["Binds"] = [
        f"{bind}:rw" if bind.count(":") == 1 else bind for bind in new["HostConfig"]["Binds"]
    ]
    assert differences(OLD, new, PLAN) == ("Config.Env", "HostConfig.Binds")
    assert differences(OLD, new, PLAN, loosely=True) == ()


def test_a_network_that_is_shared_is_compared_by_its_mode_alone() -> None:
    old = original()
    old["HostConfig"]["NetworkMode"] = f"container:{'d' * 64}"
    old["NetworkSettings"]["Networks"] = {}
    plan = make_plan(old, image="model:1", successors={"d" * 64: "e" * 64})
    assert plan.body["HostConfig"]["NetworkMode"] == f"container:{'e' * 64}"
    assert not {"Hostname", "Domainname", "ExposedPorts"} & plan.body.keys()
    new = created(dict(plan.body), {}, old)
    new["Config"] |= {"Hostname": "other", "ExposedPorts": old["Config"]["ExposedPorts"]}
    assert differences(old, new, plan) == ()


def test_what_is_named_is_bounded() -> None:
    assert in_words(("Config.Env",)) == "Config.Env"
    many = tuple(f"HostConfig.{'k' * 100}{number}" for number in range(9))
    assert in_words(many).endswith(" and 4 more")
    assert len(in_words(many)) < 400


def test_a_plan_is_a_value() -> None:
    before = original()
    assert make_plan(OLD, image="model:1") == PLAN
    assert before == OLD
    assert isinstance(PLAN, Plan)
