from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.audit.compose.document import parse, value_of
from aiidpd.components.audit.compose.edit import apply
from aiidpd.components.audit.rule import Edit, add, drop, put, swap

TEXT = """\
# the stack
x-common: &common
  restart: always
services:
    vllm:  # on the GPU
        <<: *common
        image: "vllm/vllm-openai:v0.11"   # pinned by nobody
        ports:
            - "8000:8000"  # open
            - 127.0.0.1:9000:9000

        cap_add: [SYS_ADMIN, 'NET_ADMIN']  # both
        volumes:
        - /var/run/docker.sock:/s:ro
        - type: bind
          source: /etc
          target: /e
        - ./models:/models
        environment:
            - A=1
            # last

    # the other
    llama: {image: x, privileged: true}
    shared: *common
    third:
        logging: &log
            driver: json-file
        security_opt:
        privileged: yes
    fourth:
        logging: *log
        image: y
"""


def service(text: str, name: str) -> Any:
    return value_of(parse(text))["services"][name]


def changed(name: str, *edits: Edit) -> str:
    outcome = apply(TEXT, name, edits, "/srv")
    assert outcome.refused == []
    assert outcome.applied == list(edits)
    assert yaml.safe_load(outcome.text)
    return outcome.text


def lines(text: str) -> set[str]:
    return set(text.splitlines())


def test_a_key_is_added_at_the_end_of_its_service_and_nothing_else_changes():
    text = changed("vllm", put("cap_drop", ("ALL",)), put("read_only", True))
    before, after = TEXT.splitlines(), text.splitlines()
    new = ["        cap_drop:", "            - ALL", "        read_only: true"]
    at = before.index("            - A=1") + 1
    assert after == [*before[:at], *new, *before[at:]]


def test_a_key_that_is_merged_in_is_set_on_the_service_itself():
    text = changed("vllm", put("restart", "on-failure:5"))
    assert "        restart: on-failure:5" in lines(text)
    assert service(text, "vllm")["restart"] == "on-failure:5"
    assert "  restart: always" in lines(text)


def test_an_entry_of_a_list_is_replaced_with_its_remark_kept():
    text = changed("vllm", swap("ports", "8000:8000", "127.0.0.1:8000:8000"))
    assert '            - "127.0.0.1:8000:8000"  # open' in lines(text)


def test_entries_of_every_form_are_taken_out():
    text = changed(
        "vllm",
        swap("volumes", "/var/run/docker.sock", None),
        swap("volumes", "/etc", None),
        swap("cap_add", "SYS_ADMIN", None),
    )
    assert service(text, "vllm")["volumes"] == ["./models:/models"]
    assert "        cap_add: ['NET_ADMIN']  # both" in lines(text)
    text = apply(
        text, "vllm", [swap("cap_add", "NET_ADMIN", None), swap("volumes", "/srv/models", None)], "/srv"
    ).text
    assert {"cap_add", "volumes"}.isdisjoint(service(text, "vllm"))


def test_an_entry_is_added_to_a_list_an_empty_key_and_no_key():
    assert "            - B=2" in lines(changed("vllm", add("environment", "B=2")))
    text = changed("third", add("security_opt", "no-new-privileges:true"))
    assert service(text, "third")["security_opt"] == ["no-new-privileges:true"]
    text = changed("fourth", add("security_opt", "no-new-privileges:true"))
    assert service(text, "fourth")["security_opt"] == ["no-new-privileges:true"]


def test_a_variable_in_a_list_is_set():
    assert "            - A=2" in lines(changed("vllm", put("environment.A", "2")))
    assert "            - C=3" in lines(changed("vllm", put("environment.C", "3")))


def test_a_key_is_taken_out_and_a_value_put():
    assert "privileged" not in service(changed("third", drop("privileged")), "third")
    text = changed("vllm", put("image", "a:1@sha256:ab"))
    assert "        image: a:1@sha256:ab   # pinned by nobody" in lines(text)


def test_a_tree_is_added_in_the_indentation_of_the_file():
    text = changed("vllm", put("logging.options.max-size", "10m"), put("logging.options.max-file", "3"))
    assert service(text, "vllm")["logging"] == {"options": {"max-size": "10m", "max-file": "3"}}
    assert "                max-size: " in text


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("llama", put("read_only", True), "written in brackets"),
        ("shared", put("read_only", True), "not written out"),
        ("nobody", put("read_only", True), "no service nobody"),
        ("third", put("logging.options.max-size", "1m"), "others share it"),
        ("fourth", put("logging.options.max-size", "1m"), "comes from elsewhere"),
        ("vllm", drop("restart"), "comes from elsewhere"),
        ("vllm", swap("ports", "1:1", None), "no entry 1:1"),
        ("vllm", swap("devices", "/dev/x", None), "comes from elsewhere"),
        ("vllm", swap("image", "x", None), "it is no list"),
    ],
)
def test_what_would_change_others_or_can_t_be_found_is_left_to_a_person(name: str, edit: Edit, words: str):
    outcome = apply(TEXT, name, [edit], "/srv")
    assert outcome.text == TEXT
    assert [each for each, _ in outcome.refused] == [edit]
    assert words in outcome.refused[0][1]


def test_windows_line_ends_and_a_missing_last_one_are_kept():
    text = "services:\r\n  a:\r\n    image: x"
    after = apply(text, "a", [put("read_only", True)]).text
    assert after == "services:\r\n  a:\r\n    image: x\r\n    read_only: true\r\n"


def test_texts_over_several_lines_stay_whole():
    text = "services:\n  a:\n    image: x\n    command: |\n      one\n      two\n\n  b:\n    image: y\n"
    after = apply(text, "a", [put("read_only", True)]).text
    assert service(after, "a") == {"image": "x", "command": "one\ntwo\n", "read_only": True}
    after = apply(text, "a", [put("command", "three")]).text
    assert service(after, "a") == {"image": "x", "command": "three"}
    assert service(after, "b") == {"image": "y"}


WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=12)
SERVICES = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.fixed_dictionaries(
        {"image": WORDS},
        optional={
            "ports": st.lists(st.sampled_from(["80:80", "127.0.0.1:81:81"]), unique=True, min_size=1),
            "cap_drop": st.lists(st.sampled_from(["ALL", "NET_RAW"]), unique=True),
            "logging": st.fixed_dictionaries({"driver": WORDS}),
            "privileged": st.booleans(),
            "labels": st.dictionaries(WORDS, WORDS, max_size=2),
        },
    ),
    min_size=2,
)
EDITS = st.sampled_from(
    [
        *(
            put("read_only", True),
            put("cap_drop", ("ALL",)),
            add("security_opt", "x:true"),
            drop("privileged"),
        ),
        *(
            swap("ports", "80:80", "127.0.0.1:80:80"),
            put("logging.options.max-size", "1m"),
            put("image", "n:1"),
        ),
    ]
)


@given(SERVICES, st.booleans(), st.lists(EDITS, max_size=4))
def test_whatever_is_edited_the_rest_means_the_same(services: dict[str, Any], flow: bool, edits: list[Edit]):
    text = yaml.safe_dump(
        {"services": services}, default_flow_style=None if flow else False, allow_unicode=True
    )
    outcome = apply(text, "a", edits)
    assert len(outcome.applied) + len(outcome.refused) == len(edits)
    after = yaml.safe_load(outcome.text)["services"]
    assert after["b"] == yaml.safe_load(text)["services"]["b"]
    if outcome.applied and put("read_only", True) in outcome.applied:
        assert after["a"]["read_only"] is True
