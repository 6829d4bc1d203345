"""A plan asks for what a container is, and for nothing that it merely has."""

from __future__ import annotations

from typing import Any

import pytest

from aiidpd.components.containers.recreate.described import volume_sources
from aiidpd.components.containers.recreate.plan import Connection, bind_target, make_plan
from tests.unit.components.containers.recreate.recorded import original


def body(old: dict[str, Any], **options: Any) -> Any:
    return make_plan(old, image="model:1", **options).body


def test_anonymous_volumes_are_named_and_nothing_else_is_changed_in_mounts() -> None:
    old = original()
    volumes = volume_sources(old)
    host = body(old)["HostConfig"]
    assert host["Binds"] == [
        *old["HostConfig"]["Binds"],
        f"{volumes['/anonymous']}:/anonymous",
        f"{volumes['/from/image']}:/from/image",
    ]
    by_target = {mount["Target"]: mount for mount in host["Mounts"]}
    assert by_target["/other"]["Source"] == volumes["/other"]
    assert by_target["/t"] == {"Type": "tmpfs", "Target": "/t"}
    again = {**old, "HostConfig": host}
    assert body(again)["HostConfig"] == host, "a copy of a copy asks for the same"


def test_addresses_that_were_assigned_are_not_asked_for() -> None:
    plan = make_plan(original(), image="model:1")
    # The runtime itself makes a host name that was given an alias.
    first = {"IPAMConfig": {"IPv4Address": "10.77.3.4"}, "Aliases": ["llm", "model"]}
    assert plan.body["NetworkingConfig"]["EndpointsConfig"] == {"rcx-net": first}
    assert plan.connections == (Connection("rcx-net2", {"Aliases": ["second", "model"]}),)
    assert plan.disconnect == ""


def test_ports_stay_as_they_were_asked_for() -> None:
    assert body(original())["HostConfig"]["PortBindings"] == {
        "8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}],
        "8001/tcp": [{"HostIp": "", "HostPort": ""}],
    }


@pytest.mark.parametrize(
    ("given", "kept"), [("model", "model"), (original()["Id"][:12], None), ("aaaaaaaaaaaa", "aaaaaaaaaaaa")]
)
def test_a_host_name_is_given_only_where_somebody_gave_it(given: str, kept: str | None) -> None:
    old = original()
    old["Config"]["Hostname"] = given
    assert body(old).get("Hostname") == kept
    old["HostConfig"]["UTSMode"] = "host"
    assert "Hostname" not in body(old)


def test_an_entrypoint_that_was_removed_stays_removed() -> None:
    old = original()
    old["Config"]["Entrypoint"] = None
    assert body(old, entrypoint=["sleep"])["Entrypoint"] == [""]
    assert body(old, entrypoint=None)["Entrypoint"] is None


def test_a_network_that_it_has_left_is_left_again() -> None:
    old = original()
    del old["NetworkSettings"]["Networks"]["rcx-net"]
    plan = make_plan(old, image="model:1")
    assert plan.disconnect == "rcx-net"
    assert [each.network for each in plan.connections] == ["rcx-net2"]


def test_a_network_mode_may_be_an_id() -> None:
    old = original()
    old["HostConfig"]["NetworkMode"] = old["NetworkSettings"]["Networks"]["rcx-net"]["NetworkID"]
    plan = make_plan(old, image="model:1")
    assert list(plan.body["NetworkingConfig"]["EndpointsConfig"]) == ["rcx-net"]
    assert plan.disconnect == ""


def test_the_image_is_the_text_that_leads_to_it() -> None:
    assert body(original())["Image"] == "model:1"


@pytest.mark.parametrize(
    ("bind", "target"), [("/a:/b", "/b"), ("/a:/b:ro,z", "/b"), ("name:/b", "/b"), ("/b", "/b")]
)
def test_the_target_of_a_bind(bind: str, target: str) -> None:
    assert bind_target(bind) == target
