from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.gate.permission import Subject, is_permitted, patterns_for, subject_of
from aiidpd.gate.settings import Rule

ID = "a" * 64


def subject(name: str = "vllm", **labels: str) -> Subject:
    return Subject(ID, name, {key.replace("_", "."): value for key, value in labels.items()})


@pytest.mark.parametrize(
    ("labels", "permitted"),
    [
        ({}, False),
        ({"aiidpd_heal": "restart"}, True),
        ({"aiidpd_heal": " recreate "}, True),
        ({"aiidpd_upgrade": "allow"}, True),
        ({"aiidpd_heal": "notify"}, False),
        ({"aiidpd_heal": "off"}, False),
        ({"aiidpd_heal": "Restart"}, False),
        ({"aiidpd_heal": "restart,recreate"}, False),
        ({"aiidpd_upgrade": "off"}, False),
        ({"aiidpd_grace": "restart"}, False),
    ],
)
def test_labels_permit(labels: dict[str, str], permitted: bool):
    assert is_permitted(subject(**labels), "stop", ()) is permitted


def test_the_configuration_permits_what_it_names_and_that_act_alone():
    rule = Rule(name="vllm-*", acts=("stop",))
    assert is_permitted(subject("vllm-1"), "stop", (rule,))
    assert is_permitted(subject("vllm-1", aiidpd_heal="off"), "stop", (rule,))
    assert not is_permitted(subject("vllm-1"), "restart", (rule,))
    assert not is_permitted(subject("other"), "stop", (rule,))


def test_a_re_creation_is_a_permission_of_its_own():
    assert is_permitted(subject(aiidpd_heal="recreate"), "recreate", ())
    assert not is_permitted(subject(aiidpd_heal="restart", aiidpd_upgrade="allow"), "recreate", ())
    assert not is_permitted(subject(), "recreate", (Rule(name="vllm"),))
    rule = Rule(name="vllm", acts=("recreate", "stop"))
    for name in ("vllm", "vllm-aiidpd-old-0123", "vllm-aiidpd-new-0123"):
        assert is_permitted(subject(name), "recreate", (rule,))
        assert is_permitted(subject(name), "stop", (rule,))


def test_a_trial_of_an_image_is_a_permission_of_its_own():
    assert is_permitted(subject(aiidpd_upgrade="allow"), "upgrade", ())
    for labels in ({"aiidpd_heal": "recreate"}, {"aiidpd_upgrade": "off"}, {"aiidpd_upgrade": "Allow"}):
        assert not is_permitted(subject(**labels), "upgrade", ())
    assert not is_permitted(subject(), "upgrade", (Rule(name="vllm"),))
    assert not is_permitted(subject(), "recreate", (Rule(name="vllm", acts=("upgrade",)),))
    rule = Rule(name="vllm", acts=("upgrade",))
    for name in ("vllm", "vllm-aiidpd-old-0123", "vllm-aiidpd-new-0123", "vllm-aiidpd-new-0123-beside"):
        assert is_permitted(subject(name), "upgrade", (rule,))


def test_repositories_are_those_of_the_rules_that_name_the_container_and_the_act():
    rules = (
        Rule(name="vllm", acts=("upgrade",), images=("a.io/x",)),
        Rule(name="v*", acts=("upgrade",), images=("b.io/*",)),
        Rule(name="vllm", acts=("stop",), images=("c.io/x",)),
        Rule(name="db", acts=("upgrade",), images=("d.io/x",)),
    )
    assert patterns_for(subject(), rules) == ("a.io/x", "b.io/*")
    assert patterns_for(subject("other"), rules) == ()


def test_all_patterns_of_a_rule_must_match():
    rule = Rule(project="llm", service="v*")
    labels = {"com.docker.compose.project": "llm", "com.docker.compose.service": "vllm"}
    assert is_permitted(Subject(ID, "x", labels), "pause", (rule,))
    assert not is_permitted(
        Subject(ID, "x", {**labels, "com.docker.compose.service": "db"}), "pause", (rule,)
    )
    assert not is_permitted(Subject(ID, "x", {}), "pause", (rule,))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(ID),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Id", "Name", "Config", "Labels", "aiidpd.heal"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_description_is_a_subject_or_none(document: object):
    found = subject_of(document)
    assert found is None or (found.identity == ID and all(isinstance(v, str) for v in found.labels.values()))


def test_a_description_has_id_name_and_labels():
    document = {"Id": ID, "Name": "/vllm", "Config": {"Labels": {"a": "b", "c": 1}}}
    assert subject_of(document) == Subject(ID, "vllm", {"a": "b"})
    assert subject_of({**document, "Config": {"Labels": None}}) == Subject(ID, "vllm", {})
    assert subject_of({**document, "Id": "short"}) is None
