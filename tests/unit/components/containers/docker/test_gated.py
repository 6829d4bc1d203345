from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.docker.gated import GatedActions
from aiidpd.kernel.errors import NotInstalled
from tests.fakes.gate import ScriptedEngine, gate_in_thread, plain
from tests.waiting import PATIENCE

NAME = "vllm-aiidpd-new-0123abcd"


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


async def test_no_other_container_or_image_is_asked_for(gate: ScriptedEngine, actions: GatedActions):
    with pytest.raises(Refused, match="makes copies alone"):
        await actions.create("other", {})
    with pytest.raises(Refused, match="no other image"):
        await actions.pull("busybox", lambda _: None)
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
