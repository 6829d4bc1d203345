from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.gate.settings import ACTS, GateSettings, Rule, WrongSettings, settings_of


def test_nothing_is_the_defaults_and_everything_is_read():
    assert settings_of({}) == GateSettings("/run/docker.sock", ("aiidpd",), ())
    found = settings_of(
        {
            "engine": "/x.sock",
            "users": ["a", 5],
            "containers": [{"name": "v*"}, {"service": "s", "acts": ["stop"]}],
        }
    )
    assert found == GateSettings("/x.sock", ("a", 5), (Rule("v*"), Rule(service="s", acts=("stop",))))
    assert found.rules[0].acts == ACTS


def test_an_upgrade_includes_to_start_and_stop_and_names_repositories():
    table = {
        "name": "v",
        "acts": ["upgrade"],
        "images": ["ghcr.io/org/*", "docker.io/busybox", "localhost:5000/a", "registry:5000/x"],
    }
    (rule,) = settings_of({"containers": [table]}).rules
    assert rule.acts == ("upgrade", "start", "stop")
    assert rule.images == (
        "ghcr.io/org/*",
        "docker.io/busybox",
        "localhost:5000/a",
        "registry:5000/x",
    )


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"enginee": "/x"}, "'enginee' is no key"),
        ({"engine": "x"}, "absolute path"),
        ({"engine": 5}, "absolute path"),
        ({"users": "aiidpd"}, "list of names"),
        ({"users": [True]}, "list of names"),
        ({"users": [-1]}, "list of names"),
        ({"containers": {"name": "x"}}, "tables"),
        ({"containers": ["x"]}, r"containers\[0\] must be a table"),
        ({"containers": [{}]}, "must have name"),
        ({"containers": [{"name": ""}]}, "1 to 200"),
        ({"containers": [{"name": "x", "act": ["stop"]}]}, "'act' is no key"),
        ({"containers": [{"name": "x", "acts": ["remove"]}]}, "acts must be a list of"),
        ({"containers": [{"name": "x", "acts": []}]}, "acts must be a list of"),
        ({"containers": [{"name": "x", "images": ["a.io/x"]}]}, "only where acts names upgrade"),
        *(
            ({"containers": [{"name": "x", "acts": ["upgrade"], "images": images}]}, "list of repositories")
            for images in (
                *(
                    "a.io/x",
                    [1],
                    [""],
                    ["*"],
                    ["*/x"],
                    ["vllm/*"],
                    ["*.io/x"],
                    ["a.io/"],
                    ["a.io/X"],
                    ["a.io/?"],
                ),
                *(
                    ["a.io/[a]"],
                    ["a.io"],
                    ["a.io//x"],
                    ["a.io/x"] * 201,
                    ["a.io/" + "x" * 300],
                    ["https://a.io/x"],
                ),
            )
        ),
        ({"containers": [{"name": "x"}] * 201}, "200 at most"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(document: dict[str, object], reason: str):
    with pytest.raises(WrongSettings, match=reason):
        settings_of(document)


values = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "acts", "images", "engine", "users", "containers"]), inner, max_size=3
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["engine", "users", "containers"]), values, max_size=3))
def test_any_document_is_settings_or_wrong(document: dict[str, object]):
    try:
        found = settings_of(document)
    except WrongSettings:
        return
    assert all(rule.name or rule.project or rule.service for rule in found.rules)


def test_the_file_that_is_installed_has_the_defaults():
    root = Path(__file__).resolve().parents[3]
    assert settings_of(tomllib.loads((root / "etc" / "gate.toml").read_text())) == GateSettings()
