"""``aiidpctl bench load`` as a person calls it, against a scripted server."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.fakes.command_line import Run, command_line
from tests.fakes.inference import DONE, Cut, Hang, InferenceServer, Send, Step, finish, steady
from tests.fakes.inference import chunk as piece
from tests.ports import free_port
from tests.waiting import PATIENCE, eventually

NOWHERE = ("--socket", "/nonexistent/control.sock", "bench", "load")
QUICK = "--workload batch --duration 1s --warm-up 0 --timeout 10s"


run = command_line(*NOWHERE)


def served(**more: Any) -> InferenceServer:
    return InferenceServer(
        steady(8, first=0.05, each=0.02), models=[{"id": "tiny", "owned_by": "vllm"}], **more
    )


def figures(out: str, place: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out)["levels"][place]["figures"]
    return found


async def test_users_at_once_have_their_figures_and_files(run: Run, tmp_path: Path):
    async with served() as server:
        files = f"--markdown {tmp_path}/l.md --csv {tmp_path}/l.csv --plot {tmp_path}/l.svg"
        code, out, err = await run(f"--target {server.url} --users 4 {QUICK} {files}")
        assert server.most_busy == 4
    assert code in (0, 1), out  # a machine that others use may be late to read
    lines = out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("under load, batch: http://127.0.0.1")
    assert lines[1].split() == [
        "LOAD",
        "REQ/S",
        "TOK/S",
        "TTFT",
        "p50",
        "p95",
        "TPOT",
        "p50",
        "GAP",
        "p95",
        "GOOD",
        "FAILED",
    ]
    assert any(line.startswith("first token  ") for line in lines)
    assert "4 users, batch, 1 s" in err
    (row,) = csv.DictReader((tmp_path / "l.csv").read_text().splitlines())
    assert float(row["users"]) == 4
    assert float(row["ttft_p50"]) >= 0.05
    assert (tmp_path / "l.md").read_text().startswith("# under load, batch: ")
    assert ET.parse(tmp_path / "l.svg").getroot().tag.endswith("svg")


async def test_the_document_has_all_of_it(run: Run):
    async with served() as server:
        limits = "--ttft-limit 10s --tpot-limit 10s --weights 2GB --bandwidth 200GB/s"
        code, out, _ = await run(f"--json --target {server.url} --users 2 {QUICK} {limits}")
    assert code in (0, 1)
    found = json.loads(out)
    assert (found["model"], found["engine"], found["workload"]) == ("tiny", "vllm", "batch")
    (level,) = found["levels"]
    assert level["figures"]["answered"] == level["figures"]["requests"] > 5
    assert level["figures"]["good"] == 1
    assert level["ceiling"]["tokens_per_second"] == 200
    assert level["on_wire"] == 2
    assert level["figures"]["ttft"]["p50"] >= 0.05


async def test_requests_by_a_rate(run: Run):
    async with served() as server:
        _, out, _ = await run(f"--json --target {server.url} --rate 20 {QUICK}")
    assert json.loads(out)["levels"][0]["rate"] == 20
    assert figures(out)["requests"] > 5


async def test_a_ramp_names_its_knee(run: Run):
    async with served() as server:
        command = f"--json --target {server.url} --ramp --users 1 --most 4 {QUICK} --duration 500ms"
        _, out, err = await run(command)
    found = json.loads(out)
    assert found["levels"][0]["load"] == 1
    assert found["knee"]["reason"]
    assert "1 user, batch" in err


async def test_what_physics_forbids_is_no_figure(run: Run):
    async with served() as server:
        command = f"--target {server.url} --users 2 {QUICK} --weights 100GB --bandwidth 100GB/s"
        _, out, _ = await run(f"--json {command}")
        _, text, _ = await run(command)
    assert figures(out)["output_tokens_per_second"] is None
    assert "is more than 2 tok/s = 2 / (100 GB / 100 GB/s) allow" in figures(out)["notes"][-1]
    assert "allow: weights or memory are not what was given" in " ".join(text.split())


async def test_prompts_begin_with_a_nonce_that_is_another_in_each_run(run: Run):
    async with served() as server:
        for _ in range(2):
            await run(f"--target {server.url} --users 1 {QUICK}")
    prompts = [each["messages"][0]["content"] for each in server.requests]
    assert len({each.split(" ")[0] for each in prompts}) == len(prompts)


async def test_a_conversation_is_sent_with_its_history(run: Run):
    async with served() as server:
        await run(f"--target {server.url} --users 1 {QUICK} --workload soak")
    lengths = [len(each["messages"]) for each in server.requests[1:]]
    assert lengths[:3] == [1, 3, 5]
    roles = [each["role"] for each in server.requests[3]["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]


async def test_the_seed_s_users_request_the_list_of_models_too(run: Run):
    async with served() as server:
        command = f"--json --target {server.url} --users 30 --workload seed --duration 1s --warm-up 0"
        _, out, _ = await run(f"{command} --timeout 10s")
    assert figures(out)["answered"] > figures(out)["ttft"]["count"]


async def test_a_server_that_refuses_to_count_tokens_is_asked_without(run: Run):
    async with served(refused="timings_per_token") as server:
        _, out, _ = await run(f"--json --target {server.url} --users 1 {QUICK}")
    assert figures(out)["answered"] > 3


@pytest.mark.parametrize(
    ("steps", "label"),
    [
        ([Send(piece({"content": "x"}), text=True), Cut()], "cut"),
        ([Send(b"data: {\n\n")], "malformed"),
        ([finish(), Send(DONE)], "empty"),
    ],
)
async def test_answers_that_are_none_end_it_with_their_label(run: Run, steps: Sequence[Step], label: str):
    async with served() as server:
        server.steps = steps
        code, out, _ = await run(f"--json --target {server.url} --users 1 {QUICK}")
    assert code == 1
    assert label in json.loads(out)["problem"] or "cannot measure" in json.loads(out)["problem"]


async def test_a_server_that_fails_under_load_is_counted_with_its_words(run: Run):
    async with served() as server:
        warmed = len(server.requests)

        async def breaks() -> None:
            await eventually(_sent(server), lambda sent: sent > warmed + 4)
            server.status, server.body = 500, b'{"error": "CUDA out of memory"}'

        async with anyio.create_task_group() as group:
            group.start_soon(breaks)
            code, out, _ = await run(f"--json --target {server.url} --users 2 {QUICK} --duration 3s")
    assert code == 1
    assert figures(out)["faults"]["server_error"] > 1
    assert figures(out)["reasons"]["server_error"] == "it answers 500: CUDA out of memory"
    assert json.loads(out)["outcome"] == "the server ran out of memory, as its own answers say"


def _sent(server: InferenceServer) -> Callable[[], Awaitable[int]]:
    async def read() -> int:
        return len(server.requests)

    return read


async def test_depths_have_their_rows(run: Run):
    async with served() as server:
        code, out, _ = await run(f"--target {server.url} --depths 0,1k")
        asked = [len(each["messages"][0]["content"]) for each in server.requests]
    assert code in (0, 1), out
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["DEPTH", "0", "1024"]
    # One that this process was late for is tried anew, with all that precedes it.
    assert len(asked) in {1 + 2 + one + 2 * other for one in (1, 2, 3) for other in (1, 2, 3)}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("", "required"),
        ("--target x --endpoint y", "not allowed"),
        ("--target http://127.0.0.1:1 --users 2 --rate 2", "not allowed"),
        ("--target http://127.0.0.1:1 --workload absent", "known are chat, soak, rag"),
        ("--target http://127.0.0.1:1 --users 0", "no whole number"),
        ("--target http://127.0.0.1:1 --rate 0", "no number above 0"),
        ("--target http://127.0.0.1:1 --duration 60", "no time above 0 with its unit"),
        ("--target http://127.0.0.1:1 --depths 4x", "no number of tokens"),
        ("--target http://127.0.0.1:1 --depths 4k --ramp", "neither"),
        ("--target http://127.0.0.1:1 --depths 4k --plot x.svg", "--depths has none"),
        ("--target http://127.0.0.1:1 --draft-accepted 0.5", "1 or more"),
        ("--target http://127.0.0.1:1 --api-key-file absent", "no such file"),
        ("--target http://192.0.2.1:8000", "--yes-remote"),
        ("--target ftp://127.0.0.1", "no http or https URL"),
        ("--target localhost:8000", "give it as http://HOST:PORT"),
        ("--target https://127.0.0.1:1", "plain HTTP alone"),
        ("--target http://a:b@127.0.0.1:1", "credentials"),
    ],
)
async def test_what_can_t_be_tried_is_a_usage_error(run: Run, command: str, reason: str):
    code, _, err = await run(command)
    assert code == 2
    assert reason in " ".join(err.split())


async def test_a_password_in_a_url_is_not_printed(run: Run):
    _, out, err = await run("--target http://a:b3c@127.0.0.1:1")
    assert "b3c" not in out + err


async def test_nobody_there_is_no_result(run: Run):
    code, out, _ = await run(f"--target http://127.0.0.1:{free_port()} {QUICK}")
    assert code == 1
    assert "connection refused" in " ".join(out.split())


async def test_another_machine_may_be_loaded_where_a_person_says_so(run: Run):
    """No machine has this name, so that the load goes nowhere."""
    code, out, _ = await run(f"--target http://nowhere.invalid:8000 --yes-remote {QUICK}")
    assert code == 1
    assert "cannot measure http://nowhere.invalid:8000" in " ".join(out.split())


async def test_a_key_is_sent_and_shown_nowhere(run: Run, tmp_path: Path):
    (tmp_path / "key").write_text("secret-key\n")
    async with served() as server:
        command = f"--json --target {server.url} --users 1 {QUICK} --api-key-file {tmp_path}/key"
        code, out, err = await run(command)
    assert code in (0, 1), out
    assert {each["Authorization"] for each in server.request_headers} == {"Bearer secret-key"}
    assert "secret-key" not in out + err


async def test_workloads_are_listed_with_their_sources(run: Run):
    code, out, _ = await run("--list")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    for words in ("arXiv 2309.11998", "arXiv 2308.14508", "arXiv 2311.18677", "3 x short", "waits 1 to 5 s"):
        assert words in " ".join(out.split())


def started(server: InferenceServer, *more: str) -> subprocess.Popen[str]:
    words = ["--target", server.url, "--users", "3", "--workload", "batch", "--duration", "10min", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "aiidpd.cli", *NOWHERE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    )


@pytest.fixture
def starter() -> Iterator[list[subprocess.Popen[str]]]:
    found: list[subprocess.Popen[str]] = []
    yield found
    for each in found:
        each.kill()
        each.communicate()


def _busy(server: InferenceServer) -> Callable[[], Awaitable[int]]:
    async def read() -> int:
        return server.busy

    return read


async def test_an_interruption_gives_what_came_until_then(starter: list[subprocess.Popen[str]]):
    async with served() as server:
        process = await anyio.to_thread.run_sync(lambda: started(server, "--warm-up", "0"))
        starter.append(process)
        await eventually(_sent(server), lambda sent: sent > 12)
        process.send_signal(signal.SIGINT)
        out, err = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=4 * PATIENCE))
        await eventually(_busy(server), lambda busy: busy == 0)
    assert process.returncode == 130, out + err
    assert "interrupted: what came until now follows" in err
    assert "interrupted, and a part of what was to be measured" in " ".join(out.split())
    assert "3 users" in out


async def test_the_load_ends_with_whoever_started_it(starter: list[subprocess.Popen[str]]):
    async with served() as server:
        process = await anyio.to_thread.run_sync(lambda: started(server))
        starter.append(process)
        await eventually(_busy(server), lambda busy: busy == 3)
        process.kill()
        await eventually(_busy(server), lambda busy: busy == 0)
        answered = len(server.requests)
        await anyio.sleep(0.3)  # a load that went on would have sent its next requests
        assert len(server.requests) == answered


async def test_an_engine_that_hangs_ends_each_request_by_its_timeout(run: Run):
    async with served() as server:

        async def hangs() -> None:
            await eventually(_sent(server), lambda sent: sent > 3)
            server.steps = [Hang()]

        async with anyio.create_task_group() as group:
            group.start_soon(hangs)
            command = f"--json --target {server.url} --users 2 --workload batch --duration 2s"
            code, out, _ = await run(f"{command} --warm-up 0 --timeout 1s")
    assert code == 1
    assert "late" in figures(out)["faults"]
