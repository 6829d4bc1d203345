from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.gate.message import Malformed, Request, parse_request
from aiidpd.gate.rules import STEPS, TABLE, VERBS, Access, Matched, Refusal, match
from aiidpd.gate.settings import ACTS

ID = "a" * 64
# Written by hand, apart from the table: nothing else may ever reach the engine.
PROMISED = re.compile(
    r"(GET|HEAD) (/v1\.\d\d)?/_ping|GET (/v1\.\d\d)?/(version|info|events|networks|(containers|images)/json)"
    r"|GET (/v1\.\d\d)?/containers/[\w.-]+/(json|logs|stats)|GET (/v1\.\d\d)?/exec/[0-9a-f]{64}/json"
    r"|GET (/v1\.\d\d)?/images/[\w./:@-]+/json|GET (/v1\.\d\d)?/networks/[\w.-]+"
    r"|GET (/v1\.\d\d)?/containers/[\w.-]+/changes|GET (/v1\.\d\d)?/volumes/[\w.-]+"
    r"|POST (/v1\.\d\d)?/containers/[\w.-]+/(start|stop|restart|kill|pause|unpause|rename)"
    r"|DELETE (/v1\.\d\d)?/containers/[\w.-]+|POST (/v1\.\d\d)?/aiidpd/(copies|images|pulls)/[\w.-]+",
    re.ASCII,
)


def matched(line: str) -> Matched:
    method, target = line.split(" ")
    return match(parse_request(f"{method} {target} HTTP/1.1\r\nHost: d\r\n\r\n".encode()))


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("GET /_ping", "/_ping"),
        ("HEAD /v1.41/_ping", "/v1.41/_ping"),
        ("GET /containers/json?size=0&all=1", "/containers/json?all=1&size=0"),
        (f"GET /v1.41/containers/{ID}/json", f"/v1.41/containers/{ID}/json"),
        ("GET /images/registry:5000/a/b:tag/json", "/images/registry:5000/a/b:tag/json"),
        ("GET /images/a@sha256:0/json", "/images/a@sha256:0/json"),
        ("GET /networks/bridge", "/networks/bridge"),
        (f"GET /exec/{ID}/json", f"/exec/{ID}/json"),
        ("POST /containers/vllm/stop?t=007", "/containers/vllm/stop?t=7"),
        ("POST /aiidpd/pulls/x?image=docker.io/a", "/aiidpd/pulls/x?image=a%3Alatest"),
        ("POST /containers/vllm/kill?signal=SIGTERM", "/containers/vllm/kill?signal=SIGTERM"),
        (
            "GET /containers/x/logs?tail=5&stdout=1&since=1.5",
            "/containers/x/logs?stdout=1&since=1.5&tail=5",
        ),
        (
            'GET /events?filters={"type":+["container"]}'.replace('"', "%22"),
            "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D",
        ),
    ],
)
def test_what_is_let_through_is_written_anew(line: str, target: str):
    assert matched(line).target == target


def test_an_act_names_its_container_and_goes_to_its_id():
    found = matched("POST /v1.41/containers/vllm/restart?t=3")
    assert (found.access, found.container, found.verb, found.within) == (Access.ACT, "vllm", "restart", 3.0)
    assert found.target_for(ID) == f"/v1.41/containers/{ID}/restart?t=3"
    assert set(VERBS) == {*ACTS, *STEPS}


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("POST /containers/x/rename?name=y", f"/containers/{ID}/rename?name=y"),
        ("DELETE /v1.41/containers/x", f"/v1.41/containers/{ID}"),
    ],
)
def test_a_step_of_a_re_creation_goes_to_an_id_too(line: str, target: str):
    assert matched(line).target_for(ID) == target


@pytest.mark.parametrize(
    ("line", "endless"),
    [
        ("GET /events", True),
        ("GET /events?until=5", False),
        ("GET /containers/x/logs", False),
        ("GET /containers/x/logs?follow=1", True),
        ("GET /containers/x/stats", True),
        ("GET /containers/x/stats?stream=0", False),
        ("GET /info", False),
    ],
)
def test_what_has_no_end_is_known(line: str, endless: bool):
    assert matched(line).endless is endless


REFUSED = f"""
POST /containers/create, POST /v1.41/containers/create?name=x, POST /containers/x/exec
POST /containers/x/attach, GET /containers/x/top?ps_args=x
GET /containers/x/attach/ws, POST /containers/x/rename?name=/y, POST /containers/x/rename?names=y
POST /containers/x/update, DELETE /containers/x?v=1
DELETE /containers/x?force=1, DELETE /containers/x?link=1, DELETE /containers
POST /containers/prune, POST /containers/x/wait, PUT /containers/x/archive, GET /containers/x/archive?path=a
HEAD /containers/x/archive, GET /containers/x/export, GET /containers/x/top
POST /containers/x/resize, POST /exec/{ID}/start, POST /exec/{ID}/resize, POST /images/create?fromImage=x
POST /build, POST /commit, POST /images/load, GET /images/x/get, GET /images/get, POST /images/x/push
DELETE /images/x, POST /images/prune, GET /images/search?term=x, GET /images/x/history, POST /networks/create
POST /networks/x/connect, POST /networks/x/disconnect, DELETE /networks/x, POST /networks/prune, GET /volumes
POST /volumes/create, DELETE /volumes/x, POST /auth, GET /system/df, POST /session, GET /swarm
POST /swarm/init, GET /secrets, GET /configs, GET /plugins, POST /plugins/pull, POST /grpc, GET /nodes
GET /distribution/x/json, GET /services, GET /tasks, GET /debug/pprof, GET /debug/vars, GET /metrics
POST /_ping, POST /info, GET /containers/x/start, GET /containers/x/stop, HEAD /info, GET /v1.23/info
GET /v2.0/info, GET /v1.410/info, GET /v1.41, GET /v1.41/v1.41/info, GET /libpod/info
GET /v4.0.0/libpod/containers/json, GET /containers/json?unknown=1, GET /containers/json?all=yes
GET /containers/json?filters=1, GET /containers/json?filters={{}}{{}}, GET /containers/json?filters=[]
GET /containers/json?limit=-1, POST /containers/x/stop?t=-1, POST /containers/x/stop?t=3601
POST /containers/x/stop?signal=KILL, POST /containers/x/kill?signal=STOP, POST /containers/x/kill?signal=19
POST /containers/x/start?detachKeys=x, POST /containers/x/start?checkpoint=y, GET /containers/.x/json
GET /exec/abc/json, GET /networks/x/y, GET /containers/x/y/json, GET /images//json
GET /containers/{"x" * 300}/json, GET /containers/a:b/json
POST /aiidpd/images/x?image=a/../b, POST /aiidpd/images/x?image=a..b, POST /aiidpd/images/x?image=%61%0a
POST /aiidpd/images/x?image=Vllm, POST /aiidpd/images/x?image=, POST /aiidpd/images/x?image=a@b
POST /aiidpd/images/x?image=sha256:ab, POST /aiidpd/images/x?image=a%20b, POST /aiidpd/images/x?image=a+b
POST /aiidpd/images/x?image=a&image=b, POST /aiidpd/images/x?image=http://a/b, POST /aiidpd/images/x?tag=b
POST /aiidpd/images/x?image=a&name=b&body=c, POST /aiidpd/images/x?image=a&name=/b, POST /aiidpd/images/x/y
POST /aiidpd/images/../x?image=a, GET /aiidpd/images/x?image=a, PUT /aiidpd/images/x?image=a
POST /aiidpd/images/x?fromImage=a, POST /aiidpd/images/x?image=a%00, POST /aiidpd/images/x?image=%C3%A4
POST /aiidpd/pulls/x?image=a&platform=b, POST /aiidpd/pulls/x?image=a&name=b, POST /aiidpd/pulls/x?image=A
POST /aiidpd/pulls/x?fromSrc=-&image=a, POST /aiidpd/pulls?image=a, DELETE /aiidpd/pulls/x
POST /images/create?fromSrc=-, POST /v1.41/images/create?fromImage=x&tag=y
"""


@pytest.mark.parametrize("line", [each for each in re.split(", |\n", REFUSED) if each])
def test_every_other_call_is_refused(line: str):
    with pytest.raises((Refusal, Malformed)):
        matched(line)


@pytest.mark.parametrize(
    "filters",
    [
        '{"a":["b"],"a":["c"]}',
        '{"a":1}',
        '{"a":[1]}',
        '{"a":{"b":false}}',
        '{"a":"b"}',
        "[" * 5000,
        '{"a":[["b"]]}',
        "1",
        "",
    ],
)
def test_filters_of_another_form_are_refused(filters: str):
    with pytest.raises(Refusal, match="value of filters"):
        match(Request("GET", "/events", (("filters", filters),)))


def test_filters_of_both_forms_are_written_anew():
    for given_, out in (
        ('{"label": ["a=b", "c"]}', {"label": ["a=b", "c"]}),
        ('{"id":{"x":true}}', {"id": {"x": True}}),
    ):
        ((_, value),) = match(Request("GET", "/events", (("filters", given_),))).query
        assert json.loads(value) == out


words = st.sampled_from(
    f"""v1.41 v1.24 containers json images networks exec start stop create logs stats events info _ping x {ID}
    .. . %2e a:b @ get version kill prune libpod""".split()
) | st.just("")
methods = st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT"])


@given(methods, st.lists(words, max_size=6), st.text(alphabet="abt=&%31.-_?#", max_size=12))
def test_whatever_is_asked_only_what_is_promised_gets_out(method: str, parts: list[str], query: str):
    try:
        found = matched(f"{method} /{'/'.join(parts)}{'?' + query if query else ''}")
    except (Refusal, Malformed):
        return
    path, _, _ = found.target.partition("?")
    assert PROMISED.fullmatch(f"{found.method} {path}")
    assert ".." not in path.split("/")
    assert (found.method in ("POST", "DELETE")) == (found.access is Access.ACT)


def test_whatever_changes_something_is_an_act_on_a_container():
    for call in TABLE:
        assert (call.method in ("GET", "HEAD")) == (call.access is Access.READ)
        assert call.access is Access.READ or "{container}" in call.path
        assert (call.verb != "") == (call.access is Access.ACT)
