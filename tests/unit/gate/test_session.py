"""One connection through the gate, before an engine that answers as a script says."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiidpd.gate.session import Limits
from tests.fakes.gate import ENDLESS, GateInThread, ScriptedEngine, gate_in_thread, message, parted, plain
from tests.fakes.smuggling import CORPUS, IMAGES, INFO, SMUGGLED
from tests.waiting import PATIENCE, until

ID = "ab" * 32
STOP = b"POST /containers/vllm/stop?t=1 HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def described(name: str = "vllm", **labels: str) -> bytes:
    document = {
        "Id": ID,
        "Name": f"/{name}",
        "Config": {"Labels": {k.replace("_", "."): v for k, v in labels.items()}},
    }
    return plain(200, json.dumps(document).encode())


def test_a_call_is_written_anew_and_its_answer_passed_on(engine: ScriptedEngine, gate: GateInThread):
    engine.answers["/v1.41/info"] = plain(
        200, b'{"a":1}', b"Content-Type: application/json\r\nServer: secret\r\n"
    )
    request = b"GET /v1.41/info HTTP/1.1\r\nHost: x\r\nX-Evil: 1\r\nCookie: a\r\nConnection: close\r\n\r\n"
    answer = gate.ask(request)
    assert parted(answer) == (200, b'{"a":1}')
    assert b"Content-Type: application/json" in answer
    assert b"secret" not in answer
    assert engine.requests == [b"GET /v1.41/info HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"]


def test_one_connection_serves_one_call_after_the_other(engine: ScriptedEngine, gate: GateInThread):
    engine.answers |= {"/info": plain(200, b"one"), "/version": plain(200, b"two")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        client.connect(str(gate.socket))
        for path, body in ((b"/info", b"one"), (b"/nothing", b"among the calls"), (b"/version", b"two")):
            client.sendall(b"GET %b HTTP/1.1\r\nHost: d\r\n\r\n" % path)
            assert body in client.recv(65536)
    assert len(engine.requests) == 2


def test_chunks_and_an_answer_without_length_come_whole(engine: ScriptedEngine, gate: GateInThread):
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    engine.answers |= {"/info": chunked, "/version": b"HTTP/1.0 200 OK\r\n\r\nuntil the end"}
    assert gate.get("/info") == (200, b"abcde")
    assert gate.get("/version") == (200, b"until the end")
    engine.answers["/_ping"] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert gate.get("/_ping", "HEAD") == (200, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"nonsense\r\n\r\n",
        b"x" * 70_000,
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ],
)
def test_an_answer_that_is_none_is_502(engine: ScriptedEngine, gate: GateInThread, answer: bytes):
    engine.answers["/info"] = answer
    assert gate.get("/info")[0] == 502


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ],
)
def test_an_answer_that_is_cut_short_does_not_look_whole(
    engine: ScriptedEngine, gate: GateInThread, answer: bytes
):
    engine.answers["/info"] = answer
    found = gate.ask(INFO)
    assert not found.endswith(b"0\r\n\r\n")
    assert len(found.partition(b"\r\n\r\n")[2]) < 10


def test_an_engine_that_is_not_there_is_503(tmp_path: Path):
    with gate_in_thread(tmp_path / "none.sock", tmp_path) as gate:
        status, body = gate.get("/info")
    assert status == 503
    assert "there is no engine at" in message(body)


def test_an_act_goes_to_the_id_of_what_a_label_names(engine: ScriptedEngine, gate: GateInThread):
    engine.answers |= {
        "/containers/vllm/json": described(aiidpd_heal="restart"),
        f"/containers/{ID}/stop": plain(204, b""),
    }
    assert gate.ask(STOP).startswith(b"HTTP/1.1 204 ")
    assert engine.requests[-1].startswith(b"POST /containers/%b/stop?t=1 HTTP/1.1\r\n" % ID.encode())
    assert any("stop vllm" in line for line in gate.lines)


def test_what_nothing_names_is_not_acted_on(engine: ScriptedEngine, gate: GateInThread):
    engine.answers["/containers/vllm/json"] = described(aiidpd_heal="notify")
    status, body = parted(gate.ask(STOP))
    assert status == 403
    assert "neither a label of it" in message(body)
    assert [each.split(b" ")[0] for each in engine.requests] == [b"GET"]
    assert any("denied POST /containers/vllm/stop" in line for line in gate.lines)


def test_the_configuration_names_by_what_the_engine_says_and_is_read_anew(
    engine: ScriptedEngine, gate: GateInThread
):
    engine.answers |= {"/containers/vllm/json": described("db"), f"/containers/{ID}/stop": plain(204, b"")}
    text = gate.config.read_text()
    gate.config.write_text(text + '[[containers]]\nname = "vllm"\n')
    assert parted(gate.ask(STOP))[0] == 403  # the caller's word for it counts for nothing
    gate.config.write_text(text + '[[containers]]\nname = "db"\n')
    assert gate.ask(STOP).startswith(b"HTTP/1.1 204 ")
    gate.config.write_text("broken")
    assert parted(gate.ask(STOP))[0] == 503


@pytest.mark.parametrize(
    "document",
    [
        b"[]",
        b"not json",
        b"[" * 100_000,
        b'{"Id":"../create","Name":"/x","Config":{"Labels":{"aiidpd.heal":"restart"}}}',
    ],
)
def test_a_description_that_is_none_permits_nothing(
    engine: ScriptedEngine, gate: GateInThread, document: bytes
):
    engine.answers["/containers/vllm/json"] = plain(200, document)
    assert parted(gate.ask(STOP))[0] == 502
    assert all(each.startswith(b"GET") for each in engine.requests)


def test_a_container_that_does_not_exist_is_404_in_the_engine_s_words(gate: GateInThread):
    status, body = parted(gate.ask(STOP))
    assert (status, message(body)) == (404, "No such container: vllm")


@pytest.mark.parametrize("request_", CORPUS, ids=range(len(CORPUS)))
def test_nothing_is_smuggled(engine: ScriptedEngine, gate: GateInThread, request_: bytes):
    engine.answers["/info"] = plain(200, b"{}")
    answer = gate.ask(request_, end=True)
    assert engine.requests == []
    assert answer == b"" or parted(answer)[0] in (400, 403, 431)
    assert len(gate.lines) == (1 if answer else 0)


PIECES = [
    *(b"GET ", b"POST ", b"/info", b"/containers/create", b"/containers/vllm/stop", b"/v1.41", b"?all=1"),
    *(b" HTTP/1.1", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"Host: d", b"Content-Length: ", b"0", b"5"),
    *(b"Transfer-Encoding: chunked", b"..", b"//", b"%2e", b"\x00", b" ", b"\t", b":"),
    *(b"Connection: Upgrade", b"Upgrade: h2c", INFO, SMUGGLED),
]  # fmt: skip
WRITTEN = (
    b"GET /info HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n",
    b"GET /v1.41/info HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n",
    b"GET /containers/vllm/json HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n",
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=14), st.randoms(use_true_random=False)
)
def test_whatever_bytes_come_the_engine_sees_whole_calls_that_are_allowed(
    engine: ScriptedEngine, gate: GateInThread, pieces: list[bytes], rng: random.Random
):
    engine.answers["/info"] = plain(200, b"{}")
    engine.requests.clear()
    start = rng.choice([b"", INFO, b"GET /info HTTP/1.1\r\nHost: d\r\n"])
    gate.ask(start + b"".join(pieces), end=True)
    assert all(each in WRITTEN for each in engine.requests)


def test_a_client_that_leaves_ends_the_call(engine: ScriptedEngine, gate: GateInThread):
    engine.answers["/events"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + ENDLESS
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        client.connect(str(gate.socket))
        client.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
        data = b""
        while b"abc" not in data:
            data += client.recv(65536)
    assert engine.left.wait(PATIENCE)


def test_the_head_of_a_stream_comes_before_anything_happens(engine: ScriptedEngine, gate: GateInThread):
    engine.answers["/events"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ENDLESS
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        client.connect(str(gate.socket))
        client.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_an_engine_that_hangs_is_given_up(engine: ScriptedEngine, tmp_path: Path):
    engine.answers |= {"/info": None, "/version": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab" + ENDLESS}
    with gate_in_thread(engine.path, tmp_path, limits=Limits(answer=0.05)) as gate:
        assert gate.get("/info")[0] == 504
        assert gate.ask(b"GET /version HTTP/1.1\r\nHost: d\r\n\r\n").endswith(b"ab")


def test_a_client_that_dawdles_is_dropped(engine: ScriptedEngine, tmp_path: Path):
    with gate_in_thread(engine.path, tmp_path, limits=Limits(idle=0.05, head=0.05)) as gate:
        assert gate.ask(b"") == b""
        assert parted(gate.ask(b"GET /info HT"))[0] == 408
        assert parted(gate.ask(b"GET /" + b"x" * 9000))[0] == 431


def test_an_answer_that_is_longer_than_allowed_is_cut_off(engine: ScriptedEngine, tmp_path: Path):
    engine.answers["/info"] = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000
    with gate_in_thread(engine.path, tmp_path, limits=Limits(answer_bytes=100_000)) as gate:
        found = gate.ask(INFO)
    assert len(found) < 300_000
    assert not found.endswith(b"0\r\n\r\n")


COPY = (
    b"POST /aiidpd/copies/vllm?name=vllm-aiidpd-new-0123abcd HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
)


def test_a_copy_is_made_without_a_word_of_the_caller(engine: ScriptedEngine, gate: GateInThread):
    whole = {
        "Id": ID,
        "Name": "/vllm",
        "Image": "sha256:1",
        "Config": {"Image": "v:1", "Labels": {"aiidpd.heal": "recreate"}},
        "HostConfig": {"NetworkMode": "none"},
        "NetworkSettings": {"Networks": {}},
    }
    image = plain(200, b'{"Id":"sha256:1"}')
    engine.answers |= {
        "/containers/vllm/json": plain(200, json.dumps(whole).encode()),
        "/images/sha256:1/json": image,
        "/images/v:1/json": image,
        "/containers/json": plain(200, b"[]"),
        "/containers/create": plain(201, json.dumps({"Id": "cd" * 32}).encode()),
        f"/containers/{'cd' * 32}/json": plain(200, b'{"Image":"sha256:1"}'),
    }
    status, body = parted(gate.ask(COPY))
    assert (status, json.loads(body)) == (201, {"Id": "cd" * 32})
    head, _, sent = engine.requests[-2].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /containers/create?name=vllm-aiidpd-new-0123abcd HTTP/1.1")
    assert json.loads(sent)["Labels"] == {"aiidpd.heal": "recreate"}
    engine.answers["/containers/create"] = plain(409, b'{"message":"in use"}')
    assert parted(gate.ask(COPY)) == (409, b'{"message": "in use"}\n')
    engine.answers["/containers/vllm/json"] = plain(200, json.dumps({**whole, "HostConfig": None}).encode())
    assert parted(gate.ask(COPY))[0] == 502


def test_a_container_is_removed_only_beside_another_of_its_name(engine: ScriptedEngine, gate: GateInThread):
    old = "vllm-aiidpd-old-0123abcd"
    remove = b"DELETE /containers/x HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
    engine.answers |= {
        "/containers/x/json": described(old, aiidpd_heal="recreate"),
        "/containers/json": plain(200, json.dumps([{"Id": ID, "Names": [f"/{old}"]}]).encode()),
        f"/containers/{ID}": plain(204, b""),
    }
    status, body = parted(gate.ask(remove))
    assert (status, "the last of its name" in message(body)) == (403, True)
    others = [{"Id": ID, "Names": [f"/{old}"]}, {"Id": "cd" * 32, "Names": ["/vllm"]}]
    engine.answers["/containers/json"] = plain(200, json.dumps(others).encode())
    assert gate.ask(remove).startswith(b"HTTP/1.1 204 ")
    assert engine.requests[-1].startswith(b"DELETE /containers/%b HTTP/1.1\r\n" % ID.encode())
    engine.answers["/containers/json"] = plain(500, b"")
    assert parted(gate.ask(remove))[0] == 502


def test_a_container_is_renamed_within_its_re_creation_alone(engine: ScriptedEngine, gate: GateInThread):
    engine.answers |= {
        "/containers/x/json": described(aiidpd_heal="recreate"),
        f"/containers/{ID}/rename": plain(204, b""),
    }
    assert gate.get("/containers/x/rename?name=other", "POST")[0] == 403
    assert gate.get("/containers/x/rename?name=vllm-aiidpd-old-0123abcd", "POST")[0] == 204


IMAGE, OTHER = "sha256:" + "11" * 32, "sha256:" + "22" * 32
MADE = "cd" * 32
CLOSING = b" HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
TRY = b"POST /aiidpd/images/vllm?name=vllm-aiidpd-new-0123abcd&image=a.io/v:2" + CLOSING
PULL = b"POST /aiidpd/pulls/vllm?image=a.io/v:3" + CLOSING


@pytest.fixture
def upgradable(engine: ScriptedEngine) -> ScriptedEngine:
    """An engine with a container that may be upgraded, and another image of its repository."""
    whole = {
        "Id": ID,
        "Name": "/vllm",
        "Image": IMAGE,
        "Config": {"Image": "a.io/v:1", "Labels": {"aiidpd.upgrade": "allow"}},
        "HostConfig": {"NetworkMode": "none"},
        "NetworkSettings": {"Networks": {}},
    }
    other = {"Id": OTHER, "RepoTags": ["a.io/v:2"]}
    engine.answers |= {
        "/containers/vllm/json": plain(200, json.dumps(whole).encode()),
        f"/images/{IMAGE}/json": plain(200, json.dumps({"Id": IMAGE, "RepoTags": ["a.io/v:1"]}).encode()),
        "/images/a.io/v:2/json": plain(200, json.dumps(other).encode()),
        "/containers/json": plain(200, b"[]"),
        "/containers/create": plain(201, json.dumps({"Id": MADE}).encode()),
        f"/containers/{MADE}/json": plain(200, json.dumps({"Image": OTHER}).encode()),
    }
    return engine


def posted(engine: ScriptedEngine) -> list[bytes]:
    return [each.split(b" HTTP/")[0] for each in engine.requests if each.startswith(b"POST")]


def test_an_image_is_tried_without_a_word_of_the_caller(upgradable: ScriptedEngine, gate: GateInThread):
    status, body = parted(gate.ask(TRY))
    assert (status, json.loads(body)) == (201, {"Id": MADE})
    assert posted(upgradable) == [b"POST /containers/create?name=vllm-aiidpd-new-0123abcd"]
    sent = json.loads(upgradable.requests[-2].partition(b"\r\n\r\n")[2])
    assert (sent["Image"], sent["HostConfig"]) == ("a.io/v:2", {"NetworkMode": "none"})
    assert any("image vllm" in line for line in gate.lines)


def test_an_image_that_leads_elsewhere_by_then_is_none(upgradable: ScriptedEngine, gate: GateInThread):
    upgradable.answers[f"/containers/{MADE}/json"] = plain(200, json.dumps({"Image": IMAGE}).encode())
    status, body = parted(gate.ask(TRY))
    assert (status, message(body)) == (409, "a.io/v:2 leads to another image by now")
    assert upgradable.requests[-1].startswith(b"DELETE /containers/%b " % MADE.encode())


def test_without_a_name_it_is_judged_alone(upgradable: ScriptedEngine, gate: GateInThread):
    for image, status in (("a.io/v:2", 204), ("a.io/v:9", 204), ("a.io/w:2", 403), (OTHER, 404)):
        assert gate.get(f"/aiidpd/images/vllm?image={image}", "POST")[0] == status
    assert posted(upgradable) == []
    assert any("denied POST /aiidpd/images/vllm" in line for line in gate.lines)


def test_an_image_is_fetched_with_its_progress(upgradable: ScriptedEngine, gate: GateInThread):
    lines = b'{"status":"Pulling"}\r\n{"status":"Done"}\r\n'
    upgradable.answers["/images/create"] = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(lines), lines)
    )
    assert parted(gate.ask(PULL)) == (200, lines)
    assert posted(upgradable) == [b"POST /images/create?fromImage=a.io%2Fv&tag=3"]


@pytest.mark.parametrize("image", ["a.io/w:3", "evil.io/a.io/v:3", "v:3", OTHER])
def test_no_other_image_is_fetched(upgradable: ScriptedEngine, gate: GateInThread, image: str):
    assert gate.get(f"/aiidpd/pulls/vllm?image={image}", "POST")[0] in (403, 404)
    assert posted(upgradable) == []


def test_a_pull_is_one_at_a_time_and_ends_when_the_client_leaves(
    upgradable: ScriptedEngine, gate: GateInThread
):
    upgradable.answers["/images/create"] = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + ENDLESS
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        client.connect(str(gate.socket))
        client.sendall(PULL)
        data = b""
        while b"abc" not in data:
            data += client.recv(65536)
        for _ in range(20):
            status, body = parted(gate.ask(PULL))
            assert (status, message(body)) == (409, "another pull of vllm goes on")
        assert len(posted(upgradable)) == 1
    assert upgradable.left.wait(PATIENCE)
    upgradable.answers["/images/create"] = plain(200, b"")
    until(lambda: parted(gate.ask(PULL))[0] == 200)


def test_a_pull_has_an_end(upgradable: ScriptedEngine, tmp_path: Path):
    upgradable.answers["/images/create"] = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + ENDLESS
    )
    with gate_in_thread(upgradable.path, tmp_path, limits=Limits(pull=0.2)) as gate:
        found = gate.ask(PULL)
    assert b"abc" in found
    assert not found.endswith(b"0\r\n\r\n")


def test_steps_of_one_container_wait_for_each_other(upgradable: ScriptedEngine, tmp_path: Path):
    upgradable.held.add("/containers/create")
    with (
        gate_in_thread(upgradable.path, tmp_path, limits=Limits(step=0.05)) as gate,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client,
    ):
        client.connect(str(gate.socket))
        client.sendall(TRY)
        until(lambda: bool(posted(upgradable)))
        for line in ("DELETE /containers/vllm", "POST /aiidpd/images/vllm?image=a.io/v:2"):
            method, target = line.split(" ")
            status, body = gate.get(target, method)
            assert (status, message(body)) == (409, "another step of vllm goes on")
        upgradable.go.set()
        assert client.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_a_client_that_leaves_does_not_cut_a_step_short(upgradable: ScriptedEngine, gate: GateInThread):
    upgradable.held.add("/containers/create")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(gate.socket))
        client.sendall(TRY)
        until(lambda: bool(posted(upgradable)))
    upgradable.go.set()
    until(lambda: upgradable.requests[-1].startswith(b"GET /containers/%b/json " % MADE.encode()))


@pytest.mark.parametrize("request_", IMAGES, ids=range(len(IMAGES)))
def test_nothing_is_smuggled_with_an_image(upgradable: ScriptedEngine, gate: GateInThread, request_: bytes):
    answer = gate.ask(request_)
    assert parted(answer)[0] in (400, 403, 404, 431)
    assert posted(upgradable) == []
