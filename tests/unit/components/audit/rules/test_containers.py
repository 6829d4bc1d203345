"""Every rule about containers, on the engine's JSON: what breaks it is found, what is close is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.audit.evaluate import of_container
from aiidpd.components.audit.facts import Declared, Facts, Firewall, HostFacts
from aiidpd.components.audit.rules.all import BY_ID, CONTAINER_RULES, GROUPS
from aiidpd.components.containers.docker import payload
from aiidpd.components.containers.docker.inspection import engine_facts, inspection
from aiidpd.contracts.inspections import EngineFacts, Inspection
from tests.unit.components.audit.corpus import CASES, Case, inspected, laid_over

OLD = EngineFacts(version="20.10.24", security_options=("name=seccomp,profile=default",), cgroup_version="1")
NEW = EngineFacts(version="28.1.0", security_options=("name=seccomp,profile=builtin",), cgroup_version="2")


def read(data: dict[str, object]) -> Inspection:
    found = payload.reading(data).inspection
    assert found is not None
    return found


def rules_of(found: Inspection, facts: Facts) -> set[str]:
    return {each.rule for each in of_container(found, facts)}


@pytest.mark.parametrize("case", [each for each in CASES if not each.real], ids=lambda case: case.name)
def test_what_can_t_be_created_here_is_judged_by_the_engine_s_words(case: Case) -> None:
    found = read(laid_over(inspected(), case.change))
    assert rules_of(found, Facts(engine=NEW, gpus=2)) == case.rules


def test_the_base_of_the_corpus_breaks_no_rule_at_all() -> None:
    assert rules_of(read(inspected()), Facts(engine=OLD, gpus=1)) == set()


def test_each_rule_about_containers_has_cases_that_break_it_and_cases_that_do_not() -> None:
    broken = set().union(*(case.rules for case in CASES))
    elsewhere = {"drift", "drift-service-gone", "port-past-firewall", "models-writable", "cgroupns-host"}
    assert {rule.id for rule in CONTAINER_RULES} - elsewhere == broken


def test_every_rule_is_listed_once_with_words_for_people() -> None:
    every = [rule for group in GROUPS.values() for rule in group]
    assert len(every) == len(BY_ID) >= 40
    for rule in every:
        assert rule.id == rule.id.lower()
        assert rule.why.endswith((".", "`.", ")."))
        assert not rule.remedy.endswith(".")
        assert rule.check.__doc__


def test_an_engine_of_28_protects_ports_on_loopback() -> None:
    bound = {"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}}}
    found = read(laid_over(inspected(), bound))
    assert rules_of(found, Facts(engine=OLD)) == {"port-loopback-leak"}
    assert rules_of(found, Facts(engine=NEW)) == set()
    assert rules_of(found, Facts()) == set()  # of what version it is nobody knows


@pytest.mark.parametrize(
    ("firewall", "expected"),
    [
        (Firewall("ufw", closed=True), {"port-everywhere", "port-past-firewall"}),
        (Firewall("ufw", closed=True, forwards_filtered=True), {"port-everywhere"}),
        (Firewall(), {"port-everywhere"}),
        (None, {"port-everywhere"}),
    ],
)
def test_a_port_passes_a_firewall_that_does_not_filter_what_is_forwarded(
    firewall: Firewall | None, expected: set[str]
) -> None:
    bound = {"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}}}
    facts = Facts(engine=NEW, host=HostFacts(firewall=firewall))
    assert rules_of(read(laid_over(inspected(), bound)), facts) == expected


def test_a_port_that_is_published_for_ipv4_and_ipv6_is_one_finding() -> None:
    both = [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
    data = laid_over(inspected(), {"NetworkSettings": {"Ports": {"80/tcp": both}}})
    found = [each for each in of_container(read(data), Facts(engine=NEW)) if each.rule == "port-everywhere"]
    assert len(found) == 1


def test_models_that_a_container_may_write() -> None:
    mount = {"Type": "bind", "Source": "/srv/models", "Destination": "/models", "RW": True}
    facts = Facts(engine=NEW, model_folders=("/srv/models/llama",))
    assert rules_of(read(laid_over(inspected(), {"Mounts": [mount]})), facts) == {"models-writable"}
    only = laid_over(inspected(), {"Mounts": [mount | {"RW": False}]})
    assert rules_of(read(only), facts) == set()
    other = Facts(engine=NEW, model_folders=("/srv/modelsx",))
    assert rules_of(read(laid_over(inspected(), {"Mounts": [mount]})), other) == set()


def test_a_control_group_namespace_of_the_host_is_a_choice_with_version_2_alone() -> None:
    found = read(laid_over(inspected(), {"HostConfig": {"CgroupnsMode": "host"}}))
    assert rules_of(found, Facts(engine=OLD)) == set()
    assert rules_of(found, Facts(engine=NEW)) == {"cgroupns-host"}


def test_root_that_the_engine_maps_to_another_user_is_none() -> None:
    root = read(laid_over(inspected(), {"Config": {"User": ""}}))
    remapped = EngineFacts(version="28.0.0", security_options=("name=seccomp", "name=userns"))
    assert rules_of(root, Facts(engine=remapped)) == set()
    back = read(laid_over(inspected(), {"Config": {"User": ""}, "HostConfig": {"UsernsMode": "host"}}))
    assert rules_of(back, Facts(engine=remapped)) == {"user-root", "userns-host"}


def test_apparmor_is_missed_only_where_the_engine_has_it_and_the_container_runs() -> None:
    with_it = EngineFacts(version="28.0.0", security_options=("name=apparmor", "name=seccomp"))
    assert rules_of(read(inspected()), Facts(engine=with_it)) == {"apparmor-unconfined"}
    confined = read(laid_over(inspected(), {"AppArmorProfile": "docker-default"}))
    assert rules_of(confined, Facts(engine=with_it)) == set()
    created = read(laid_over(inspected(), {"State": {"Status": "created"}}))
    assert rules_of(created, Facts(engine=with_it)) == set()


def test_a_default_of_the_engine_counts_as_if_the_container_said_so() -> None:
    bare = read(laid_over(inspected(), {"HostConfig": {"SecurityOpt": None}}))
    assert rules_of(bare, Facts(host=HostFacts(daemon={"no-new-privileges": True}))) == set()
    off = read(laid_over(inspected(), {"HostConfig": {"SecurityOpt": ["no-new-privileges:false"]}}))
    daemon = Facts(host=HostFacts(daemon={"no-new-privileges": True}))
    assert rules_of(off, daemon) == {"no-new-privileges"}


def test_a_container_that_differs_from_its_file() -> None:
    found = read(inspected())
    same = Declared(found, "/srv/compose.yaml")
    assert rules_of(found, Facts(declared={found.id: same})) == set()
    other = read(laid_over(inspected(), {"HostConfig": {"CapDrop": []}}))
    drifted = rules_of(other, Facts(declared={other.id: same}))
    assert drifted == {"cap-drop-all", "drift"}
    unknown = Declared(found, "/srv/compose.yaml", unknown=frozenset({"cap_drop"}))
    assert rules_of(other, Facts(declared={other.id: unknown})) == {"cap-drop-all"}
    gone = Declared(file="/srv/compose.yaml", missing=True)
    assert rules_of(found, Facts(declared={found.id: gone})) == {"drift-service-gone"}


def test_no_finding_has_a_secret_in_it() -> None:
    secret = "ohnonothing1"
    change = {
        "Args": ["--api-key", secret],
        "Config": {
            "Env": [f"API_KEY={secret}"],
            "Labels": {"password": secret, "u": f"https://a:{secret}@x/"},
        },
    }
    found = list(of_container(read(laid_over(inspected(), change)), Facts()))
    assert {each.rule for each in found} >= {"secret-environment", "secret-argument", "secret-label"}
    assert secret not in repr(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = [*inspected()["HostConfig"], "Binds", "Mounts", "GroupAdd", "DeviceCgroupRules", "CgroupParent"]


@given(
    st.dictionaries(st.sampled_from(KEYS), JSON),
    st.dictionaries(st.sampled_from(["Image", "User", "Env", "Labels", "Healthcheck", "Cmd"]), JSON),
    JSON,
    JSON,
)
def test_no_rule_raises_on_whatever_an_engine_says(
    host: dict[str, object], config: dict[str, object], mounts: object, network: object
) -> None:
    data = {"Id": "x", "Name": "n", "HostConfig": host, "Config": config, "Mounts": mounts}
    found = inspection(
        data | {"NetworkSettings": network},
        gpu=True,
        running=True,
        arguments=("a", "--x"),
        environment={"A": "b"},
    )
    for each in of_container(found, Facts(engine=engine_facts(data), gpus=2)):
        assert (each.what + each.subject + "".join(each.lines)).isprintable()
        assert len(each.what) <= 500


@given(JSON)
def test_no_engine_s_description_is_too_odd(info: object) -> None:
    engine_facts(
        info if isinstance(info, dict) else {"SecurityOptions": info, "Swarm": info, "Warnings": info}
    )
