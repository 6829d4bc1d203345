"""``aiidpctl bench accept`` as a person calls it, against a scripted server."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aiidpd.api.client import ControlError
from aiidpd.cli.session import Session
from aiidpd.cli.text import Paint
from aiidpd.components.bench import given
from tests.fakes.command_line import Run, command_line
from tests.fakes.inference import DONE, Cut, Forever, Hang, InferenceServer, Send, Step, finish, steady, usage
from tests.fakes.inference import chunk as piece
from tests.fakes.scripted_daemon import Scripted
from tests.ports import free_port
from tests.waiting import eventually

NOWHERE = ("--socket", "/nonexistent/control.sock", "bench", "accept")
PROFILE = """
name = "own"
[requests]
warm_up = 1
count = 2
prompt = "32 tokens"
answer = "16 tokens"
timeout = "30 s"
[concurrency]
streams = 4
answer = "16 tokens"
"""
CRITERIA = {
    "first": ("ttft_p50", 'below = "20 s"'),
    "speed": ("tokens_per_second", 'above = "1 tok/s"'),
    "together": ("concurrent_success", 'at_least = "95 %"'),
    "errors": ("error_rate", 'at_most = "0 %"'),
    "answers": ("exact_answers", 'at_least = "100 %"'),
}
ANSWERS = '[[answers]]\nprompt = "2 + 2?"\nequals = "4"\n'


def criteria(**which: tuple[str, str]) -> str:
    return "".join(
        f"[[criteria]]\nname = '{name}'\nfigure = '{figure}'\n{bound}\n"
        for name, (figure, bound) in which.items()
    )


def profile(folder: Path, text: str = PROFILE + criteria(**CRITERIA) + ANSWERS) -> Path:
    path = folder / "profile.toml"
    path.write_text(text)
    return path


run = command_line(*NOWHERE)


def served(**more: Any) -> InferenceServer:
    models = [{"id": "tiny", "owned_by": "vllm"}]
    return InferenceServer(steady(8, first=0.05, each=0.05), models=models, reply="4", **more)


async def test_all_criteria_are_met(run: Run, tmp_path: Path):
    async with served() as server:
        files = f"--junit {tmp_path}/j.xml --markdown {tmp_path}/m.md"
        code, out, err = await run(f"--target {server.url} --profile {profile(tmp_path)} {files}")
        assert server.most_busy == 4
    assert code == 0, out
    assert out.splitlines()[0] == f"own: {server.url}, tiny (vllm)"
    assert out.splitlines()[-1].startswith("accepted: 5 passed")
    assert "4 requests at once" in err
    assert len(ET.parse(tmp_path / "j.xml").getroot().findall("testcase")) == 5
    assert "| speed |" in (tmp_path / "m.md").read_text()
    assert {each["model"] for each in server.requests} == {"tiny"}


async def test_one_that_is_not_met_fails(run: Run, tmp_path: Path):
    async with served() as server:
        server.reply = "five"
        code, out, _ = await run(f"--json --target {server.url} --profile {profile(tmp_path)}")
    assert code == 1
    found = json.loads(out)
    outcomes = {each["name"]: each["outcome"] for each in found["criteria"]}
    assert [name for name, outcome in outcomes.items() if outcome != "passed"] == ["answers"]
    assert found["criteria"][-1]["reason"] == "to '2 + 2?' it answers 'five'"


async def test_a_criterion_that_physics_forbids_is_impossible(run: Run, tmp_path: Path):
    text = PROFILE + criteria(speed=("tokens_per_second", 'above = "100 tok/s"'))
    async with served() as server:
        command = f"--target {server.url} --profile {profile(tmp_path, text)} --weights 2GB"
        code, out, _ = await run(f"{command} --bandwidth 180GB/s")
    assert code == 1
    assert "impossible" in out
    assert "speed: at most 90 tok/s = 1 / (2 GB / 180 GB/s)" in out


async def test_a_server_that_refuses_many_at_once_fails_that_criterion_alone(run: Run, tmp_path: Path):
    async with served() as server:
        server.refused = "never"
        server.steps = [Send(piece({"content": "x"}), text=True), finish(), usage(9, 1), Send(DONE)]
        code, out, _ = await run(f"--json --target {server.url} --profile {profile(tmp_path)}")
    found = {each["name"]: each for each in json.loads(out)["criteria"]}
    assert code == 1
    assert found["first"]["outcome"] == "passed"
    assert found["speed"]["outcome"] == "not measured"
    assert "counted 1 tokens" in found["speed"]["reason"]


async def test_a_server_in_trouble_is_told_by_its_label(run: Run, tmp_path: Path):
    async with served() as server:
        server.status, server.body = 500, b'{"error": "CUDA out of memory"}'
        text = PROFILE + criteria(**CRITERIA, memory=("out_of_memory", "at_most = 0")) + ANSWERS
        code, out, _ = await run(f"--json --target {server.url} --profile {profile(tmp_path, text)}")
    found = {each["name"]: each for each in json.loads(out)["criteria"]}
    assert code == 1
    assert "server_error: it answers 500" in found["first"]["reason"]
    assert (found["errors"]["outcome"], found["errors"]["value"]) == ("failed", 1.0)
    assert (found["together"]["outcome"], found["together"]["value"]) == ("failed", 0.0)
    assert (found["memory"]["outcome"], found["memory"]["value"] > 0) == ("failed", True)


@pytest.mark.parametrize(
    ("steps", "kind", "label"),
    [
        ([Send(piece({"content": "x"}), text=True), Cut()], "text/event-stream", "cut"),
        ([Send(b"data: {\n\n")], "text/event-stream", "malformed"),
        ([Send(piece({"content": "x"}), text=True), Hang()], "text/event-stream", "unfinished"),
        ([Send(b"<html>")], "text/html", "no_stream"),
        ([finish(), Send(DONE)], "text/event-stream", "empty"),
        ([Forever(piece({"content": "x"}), 0.0)], "text/event-stream", "too_long"),
    ],
)
async def test_answers_that_are_none_are_labelled_and_counted(
    run: Run, tmp_path: Path, steps: Sequence[Step], kind: str, label: str
):
    text = (PROFILE + criteria(**CRITERIA) + ANSWERS).replace("30 s", "1 s")
    async with served() as server:
        server.steps, server.headers = steps, {"Content-Type": kind}
        code, out, _ = await run(f"--json --target {server.url} --profile {profile(tmp_path, text)}")
    found = {each["name"]: each for each in json.loads(out)["criteria"]}
    assert code == 1
    for name in ("first", "speed"):
        assert (found[name]["outcome"], found[name]["value"]) == ("not measured", None)
        assert label in found[name]["reason"]
    assert (found["together"]["outcome"], found["together"]["value"]) == ("failed", 0.0)
    assert label in found["together"]["reason"]
    assert found["answers"]["outcome"] == "passed"


async def test_nobody_there_is_not_accepted(run: Run, tmp_path: Path):
    command = f"--target http://127.0.0.1:{free_port()} --profile {profile(tmp_path)}"
    code, out, _ = await run(f"{command} --junit {tmp_path}/j.xml")
    assert code == 1
    assert "not accepted: cannot measure" in out
    assert "connection refused" in out
    assert ET.parse(tmp_path / "j.xml").getroot().get("errors") == "1"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("", "required"),
        ("--target x --endpoint y", "not allowed"),
        ("--target http://127.0.0.1:1 --profile absent.toml", "no such file"),
        ("--target http://127.0.0.1:1 --weights 4", "no size with its unit"),
        ("--target http://127.0.0.1:1 --draft-accepted 0.5", "1 or more"),
        ("--target http://127.0.0.1:1 --draft-accepted x", "no number above 0"),
        ("--target ftp://x", "no http or https URL"),
        ("--target http://a:b@127.0.0.1:1", "credentials"),
        ("--target http://127.0.0.1:1 --api-key-file absent", "no such file"),
    ],
)
async def test_what_can_t_be_tried_is_a_usage_error(run: Run, command: str, reason: str):
    code, _, err = await run(command)
    assert code == 2
    assert reason in " ".join(err.split())


LOCAL = {"name": "local", "url": "http://x:1", "model": "m", "simulated": False, "engine": None}
DEMO = {"name": "demo", "url": "", "model": "", "simulated": True, "engine": None}


@pytest.mark.parametrize(("model", "found"), [("", "m"), ("other", "other")])
def test_an_endpoint_s_name_gives_its_url_and_model(model: str, found: str):
    daemon = Scripted(events=())
    daemon.events = {"endpoints": [LOCAL, DEMO]}
    session = Session(daemon, False, sys.stdout, sys.stderr, Paint())

    def server(name: str) -> tuple[str, str]:
        return given.server(Namespace(endpoint=name, target=None, model=model), session)

    assert server("local") == ("http://x:1", found)
    with pytest.raises(ControlError, match="there is no endpoint remote: known are local, demo") as caught:
        server("remote")
    assert caught.value.exit_code == 2
    with pytest.raises(ControlError, match="endpoint demo is simulated"):
        server("demo")


async def test_without_a_daemon_no_endpoint_has_a_name(run: Run):
    assert (await run("--endpoint local"))[0] == 3


async def test_a_key_is_sent_and_shown_nowhere(run: Run, tmp_path: Path):
    (tmp_path / "key").write_text("secret-key\n")
    async with served() as server:
        command = f"--json --target {server.url} --profile {profile(tmp_path)}"
        code, out, err = await run(f"{command} --api-key-file {tmp_path}/key")
    assert code == 0, out
    assert {each["Authorization"] for each in server.request_headers} == {"Bearer secret-key"}
    assert "secret-key" not in out + err


async def test_without_its_key_a_server_is_not_accepted_and_the_remedy_is_named(run: Run, tmp_path: Path):
    async with served() as server:
        server.models_status = 401
        code, out, _ = await run(f"--target {server.url} --profile {profile(tmp_path)}")
    assert code == 1
    assert "give the server's key by --api-key-file" in " ".join(out.split())


async def test_the_process_that_measures_ends_with_whoever_started_it(tmp_path: Path):
    """A load of an hour, whose starter is killed."""
    text = PROFILE + criteria(errors=("error_rate", 'at_most = "0 %"')) + "[load]\nduration = '1 h'\n"
    async with served() as server:
        words = ["--target", server.url, "--profile", str(profile(tmp_path, text))]
        command = [sys.executable, "-m", "aiidpd.cli", *NOWHERE, *words]
        async with await anyio.open_process(command, stdout=None, stderr=None) as starter:
            await eventually(_busy(server), lambda busy: busy == 4)
            starter.kill()
        await eventually(_busy(server), lambda busy: busy == 0)
        answered = len(server.requests)
        await anyio.sleep(0.3)  # a load that went on would have begun its next round
        assert len(server.requests) == answered


def _busy(server: InferenceServer) -> Callable[[], Awaitable[int]]:
    async def read() -> int:
        return server.busy

    return read


async def test_tls_leaves_many_at_once_out(run: Run, tmp_path: Path):
    text = PROFILE + criteria(errors=("error_rate", 'at_most = "0 %"'))
    code, out, _ = await run(f"--target https://127.0.0.1:{free_port()} --profile {profile(tmp_path, text)}")
    assert code == 1
    assert "not accepted: cannot measure https://" in out
