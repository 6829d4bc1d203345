from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.docker.gated import GatedActions
from aiidpd.kernel.errors import NotInstalled, Unavailable
from tests.fakes.gate import ScriptedEngine, gate_in_thread, plain
from tests.waiting import PATIENCE

NAME = "vllm-aiidpd-new-0123abcd"


def answer(status: int, body: bytes) -> bytes:
    return plain(status, body, b"Content-Type: application/json\r\nConnection: close\r\n")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[ScriptedEngine]:
    found = ScriptedEngine(tmp_path / "gate.sock")
    fields = b"Content-Type: application/json\r\nConnection: close\r\n"
    version = plain(200, b'{"Version":"20.10","ApiVersion":"1.41"}', fields)
    found.answers |= {"/version": version, "/v1.41/version": version}
    yield found
    found.close()


@pytest.fixture
async def actions(gate: ScriptedEngine) -> AsyncIterator[GatedActions]:
    found = GatedActions(gate.path)
    yield found
    await found.aclose()


async def test_a_copy_is_called_for_by_names_alone(gate: ScriptedEngine, actions: GatedActions):
    gate.answers["/aiidpd/copies/vllm"] = plain(201, b'{"Id":"abc"}')
    assert await actions.create(NAME, {"HostConfig": {"Privileged": True}}) == "abc"
    assert gate.requests[-1].startswith(b"POST /aiidpd/copies/vllm?name=%b HTTP/1.1" % NAME.encode())
    assert b"Privileged" not in gate.requests[-1]
    sent = len(gate.requests)
    assert await actions.connect("two", "abc", {})
    assert await actions.disconnect("two", "abc")
    assert len(gate.requests) == sent


async def test_a_refusal_has_the_words_of_the_gate(gate: ScriptedEngine, actions: GatedActions):
    gate.answers["/aiidpd/copies/vllm"] = plain(403, b'{"message":"aiidpd-gate: no label allows"}')
    with pytest.raises(Refused, match="denies the request: aiidpd-gate: no label allows"):
        await actions.create(NAME, {})


async def test_no_other_container_is_asked_for(gate: ScriptedEngine, actions: GatedActions):
    with pytest.raises(Refused, match="makes copies alone"):
        await actions.create("other", {})
    assert gate.requests == []


async def test_a_gate_without_an_engine_is_no_fault_of_anybody(tmp_path: Path):
    with gate_in_thread(tmp_path / "none.sock", tmp_path) as gate:
        runtime = DockerRuntime(gate.socket, call_timeout=PATIENCE)
        try:
            for _ in range(3):
                with pytest.raises(NotInstalled, match="there is no engine at "):
                    await runtime.containers()
        finally:
            await runtime.aclose()
        assert [line.partition("there is")[0] for line in gate.lines] == ["<6>"]


async def test_one_of_another_image_is_called_for_by_names_alone(gate: ScriptedEngine, actions: GatedActions):
    gate.answers["/aiidpd/images/vllm"] = plain(201, b'{"Id":"abc"}')
    body = {"Image": "evil", "HostConfig": {"Privileged": True}}
    assert await actions.create(f"{NAME}-beside", body, image="a.io/v:2") == "abc"
    head = b"POST /aiidpd/images/vllm?name=%b-beside&image=a.io/v:2 HTTP/1.1" % NAME.encode()
    assert gate.requests[-1].startswith(head)
    assert b"Privileged" not in gate.requests[-1]
    assert b"evil" not in gate.requests[-1]


async def test_what_is_gone_meanwhile_is_a_refusal(gate: ScriptedEngine, actions: GatedActions):
    for kind in ("copies", "images"):
        gate.answers[f"/aiidpd/{kind}/vllm"] = answer(404, b'{"message":"No such container: vllm"}')
        with pytest.raises(Refused, match="is gone"):
            await actions.create(NAME, {}, image="a:1" if kind == "images" else "")
    assert await actions.image_refusal("vllm", "a:1") == "the container is gone"


async def test_an_image_is_judged_before_it_is_tried(gate: ScriptedEngine, actions: GatedActions):
    gate.answers["/aiidpd/images/vllm"] = answer(204, b"")
    assert await actions.image_refusal("vllm", "a:1") == ""
    assert gate.requests[-1].startswith(b"POST /aiidpd/images/vllm?image=a:1 HTTP/1.1")
    gate.answers["/aiidpd/images/vllm"] = answer(403, b'{"message":"aiidpd-gate: not its repository"}')
    assert "aiidpd-gate: not its repository" in await actions.image_refusal("vllm", "a:1")
    gate.close()
    await actions.aclose()
    with pytest.raises(Unavailable, match="nothing listens"):
        await actions.image_refusal("vllm", "a:1")


async def test_an_image_is_fetched_for_its_container(gate: ScriptedEngine, actions: GatedActions):
    gate.answers |= {
        "/aiidpd/pulls/vllm": answer(200, b'{"status":"Pulling"}\r\n{"status":"Done"}\r\n'),
        "/images/a.io/v:2/json": answer(200, b'{"Id":"sha256:2"}'),
    }
    words: list[str] = []
    assert await actions.pull("a.io/v:2", words.append, container="vllm") == {"Id": "sha256:2"}
    assert words == ["Pulling", "Done"]
    assert any(each.startswith(b"POST /aiidpd/pulls/vllm?image=a.io/v:2 HTTP/1.1") for each in gate.requests)
    gate.answers["/aiidpd/pulls/vllm"] = answer(409, b'{"message":"another pull of vllm goes on"}')
    with pytest.raises(Unavailable, match="another pull of vllm goes on"):
        await actions.pull("a.io/v:2", words.append, container="vllm")
