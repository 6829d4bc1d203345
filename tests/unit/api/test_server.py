from __future__ import annotations

import json
import os
import pwd
import socket
from dataclasses import fields, replace
from typing import Any

import anyio.to_thread
import pytest

from aiidpd.api.access import Access
from aiidpd.api.client import RequestFailed
from aiidpd.api.route import Answer, Call, Route
from aiidpd.api.server import user_of
from aiidpd.components.backup.view import BackupView, RunProgress, RunResult, SnapshotInfo
from aiidpd.components.bench.stats import BenchSample, Withheld
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.components.containers.api import ContainerDocument
from aiidpd.components.containers.pause.state import PauseView
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.daemon.api import StatusDocument
from aiidpd.engines.target import EngineTimings
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.errors import Misconfigured
from aiidpd.kernel.events import Severity
from aiidpd.kernel.task import WorkerState
from aiidpd.platform.peercred import Peer
from tests.fakes.control import WORKERS, ControlDaemon, control_daemon
from tests.fakes.control_fixtures import Asker
from tests.waiting import PATIENCE

GPU = GpuReading(0, "GPU-1", "L4", temperature_celsius=61.5, clock_events=("sw_power_cap",))
SAMPLE = BenchSample(
    ttft_seconds=0.01,
    time_per_output_token_seconds=None,
    output_tokens_per_second=None,
    chunk_gap_p50_seconds=0.1,
    chunk_gap_p95_seconds=0.1,
    chunk_gap_max_seconds=0.1,
    total_seconds=1.0,
    chunks=5,
    prompt_tokens=1,
    output_tokens=5,
    cached_tokens=None,
    finish="length",
    engine=EngineTimings(1, 0.1, 5, 0.5),
    withheld=(Withheld("time_per_output_token_seconds", "too short"),),
)


async def test_status_is_healthy_while_all_workers_are_up_and_nothing_grave_stands(
    daemon: ControlDaemon, asker: Asker
) -> None:
    status = await asker.get("/v1/status")
    assert status["healthy"] is True
    assert status["version"] == "1.2.3"
    assert [worker["name"] for worker in status["workers"]] == list(WORKERS)

    daemon.conditions.set(Condition("disk", "/var", Severity.WARNING, "nearly full", "tidy"))
    status = await asker.get("/v1/status")
    assert status["healthy"] is True
    assert status["conditions"][0]["severity"] == "warning"

    daemon.conditions.set(Condition("disk", "/var", Severity.ERROR, "full"))
    assert (await asker.get("/v1/status"))["healthy"] is False
    daemon.conditions.clear("disk", "/var")

    daemon.workers["bench"].state = WorkerState.DEGRADED
    daemon.workers["bench"].reason = "no endpoint answers"
    daemon.workers["bench"].simulated = True
    status = await asker.get("/v1/status")
    assert status["healthy"] is False
    assert status["simulated"] is True
    assert (status["workers"][3]["up"], status["workers"][3]["reason"]) == (False, "no endpoint answers")


async def test_a_reading_that_is_not_there_says_why(daemon: ControlDaemon, asker: Asker) -> None:
    for path in ("/v1/gpus", "/v1/containers", "/v1/backup/snapshots", "/v1/bench/results"):
        document = await asker.get(path)
        assert document["read_at"] is None
        assert "no reading yet" in document["reason"]
    daemon.workers["thermal"].reason = "cannot read GPUs: the driver is gone"
    assert (await asker.get("/v1/gpus"))["reason"] == "cannot read GPUs: the driver is gone"


async def test_gpus(daemon: ControlDaemon, asker: Asker) -> None:
    fault = GpuFault(1, "nvmlDeviceGetTemperature", 15, "GPU_IS_LOST")
    daemon.views["gpus"].put(GpuSnapshot((GPU,), "550.1", True, (fault,)))
    document = await asker.get("/v1/gpus")
    assert document["simulated"] is True
    assert document["gpus"][0]["temperature_celsius"] == 61.5
    assert document["gpus"][0]["power_watts"] is None
    assert document["gpus"][0]["clock_events"] == ["sw_power_cap"]
    assert document["faults"] == [{"index": 1, "call": fault.call, "code": 15, "name": fault.name}]


async def test_a_figure_that_is_no_number_is_null(daemon: ControlDaemon, asker: Asker) -> None:
    gpu = replace(GPU, temperature_celsius=float("nan"), power_watts=float("inf"))
    daemon.views["gpus"].put(GpuSnapshot((gpu,), "550.1", simulated=False))
    document = (await asker.get("/v1/gpus"))["gpus"][0]
    assert (document["temperature_celsius"], document["power_watts"]) == (None, None)


async def test_containers(daemon: ControlDaemon, asker: Asker) -> None:
    container = ContainerReading("abc", "web", "nginx", "running", "healthy", started_at=5.0)
    daemon.views["containers"].put(RuntimeSnapshot((container,), "20.10", False, (("def", "stuck"),)))
    document = await asker.get("/v1/containers")
    assert document["version"] == "20.10"
    shown = {each.name: getattr(container, each.name, None) for each in fields(ContainerDocument)}
    assert document["containers"][0] == {**shown, "phase": "healthy"}
    assert document["unreadable"] == [{"id": "def", "name": "stuck"}]


async def test_a_container_that_the_daemon_has_paused_says_why_and_until_when(
    daemon: ControlDaemon, asker: Asker
) -> None:
    paused = ContainerReading("abc", "web", "nginx", "paused", started_at=5.0)
    other = replace(paused, id="def", name="other")
    daemon.views["containers"].put(RuntimeSnapshot((paused, other), "20.10"))
    daemon.pauses.append(PauseView("abc", "web", "GPU 0", "it is hot", since=6.0, until=7.0))
    first, second = (await asker.get("/v1/containers"))["containers"]
    assert first["pause"] == {"gpu": "GPU 0", "reason": "it is hot", "since": 6.0, "until": 7.0}
    assert second["pause"] is None


async def test_backups(daemon: ControlDaemon, asker: Asker) -> None:
    view = BackupView(
        configured=True,
        source="/models",
        target="/backup",
        schedule="daily",
        snapshots=(SnapshotInfo("a", files=3), SnapshotInfo("b", broken="no manifest")),
        last_success_at=5.0,
        last_run=RunResult(succeeded=False, ended_at=6.0, seconds=1.0, error="full"),
        running=RunProgress("run", "copying", 1, 2, 3, 4),
        next_run_at=7.0,
    )
    daemon.views["backup"].put(view)
    document = await asker.get("/v1/backup/snapshots")
    assert [each["broken"] for each in document["snapshots"]] == ["", "no manifest"]
    assert document["last_run"]["error"] == "full"
    assert document["running"]["phase"] == "copying"
    assert document["read_at"] is not None
    daemon.views["backup"].put(BackupView(configured=False, reason="no source is set"))
    assert (await asker.get("/v1/backup/snapshots"))["reason"] == "no source is set"


async def test_bench(daemon: ControlDaemon, asker: Asker) -> None:
    view = BenchView((EndpointView("local", "http://x", "m", True, SAMPLE, 5.0),))
    daemon.views["bench"].put(view)
    document = await asker.get("/v1/bench/results")
    endpoint = document["endpoints"][0]
    assert endpoint["sample"]["ttft_seconds"] == 0.01
    assert endpoint["sample"]["engine"]["output_tokens"] == 5
    assert endpoint["sample"]["withheld"][0]["reason"] == "too short"
    daemon.views["bench"].put(BenchView(note="no endpoint"))
    assert (await asker.get("/v1/bench/results"))["reason"] == "no endpoint"


async def test_work_is_queued_and_on_record_with_who_asked(daemon: ControlDaemon, asker: Asker) -> None:
    job = await asker.post("/v1/backup/runs")
    assert (job["kind"], job["state"]) == ("backup", "queued")
    waiting = await daemon.queues["backup"].next()
    assert waiting.status.id == job["id"]
    user = f"{pwd.getpwuid(os.getuid()).pw_name} (uid {os.getuid()})"
    assert waiting.arguments == {"work": "run", "adopt": False, "requested_by": user}
    assert (await asker.get("/v1/jobs"))["jobs"] == [job]
    assert await asker.get(f"/v1/jobs/{job['id']}") == job
    (event,) = await daemon.events("control.change")
    assert event.subject == "POST /v1/backup/runs"
    assert event.evidence["uid"] == os.getuid()
    assert event.evidence["pid"] == os.getpid()
    assert event.evidence["request"] == "POST /v1/backup/runs"
    assert event.reason == f"requested by {user}: Back up now."
    assert await user_of(Peer(1, 4_000_000_000, 0)) == "uid 4000000000"  # nobody has a name for it


async def test_one_endpoint_is_measured_when_named(daemon: ControlDaemon, asker: Asker) -> None:
    daemon.views["bench"].put(BenchView((EndpointView("local", "http://x", "m", False),)))
    await asker.post("/v1/bench/runs", {"endpoint": "local"})
    assert (await daemon.queues["bench"].next()).arguments["endpoint"] == "local"
    await asker.post("/v1/bench/runs", {})
    assert "endpoint" not in (await daemon.queues["bench"].next()).arguments
    with pytest.raises(RequestFailed, match="there is no such endpoint; name one of local") as failed:
        await asker.post("/v1/bench/runs", {"endpoint": "other"})
    assert failed.value.status == 404
    (event,) = await daemon.events("control.refused")
    assert event.evidence["body"] == '{"endpoint":"other"}'


async def test_a_full_queue_is_a_conflict(asker: Asker) -> None:
    for _ in range(16):
        await asker.post("/v1/backup/runs")
    with pytest.raises(RequestFailed) as failed:
        await asker.post("/v1/backup/runs")
    assert failed.value.status == 409
    assert failed.value.problem["remedy"] == "wait for one of them to end"


async def test_configuration_and_reload(daemon: ControlDaemon, asker: Asker) -> None:
    document = await asker.get("/v1/config")
    assert document["entries"][1] == {"key": "gpu.interval", "value": '"2s"', "origin": "a.toml:3"}
    daemon.reloads.answer = ["gpu.interval"]
    assert await asker.post("/v1/config/reload") == {"changed": ["gpu.interval"]}
    daemon.reloads.answer = Misconfigured(
        "use", "a.toml", reason="gpu.interval is no duration", remedy="mend it"
    )
    with pytest.raises(RequestFailed) as failed:
        await asker.post("/v1/config/reload")
    assert failed.value.status == 422
    problem = failed.value.problem
    assert problem["detail"] == "cannot use a.toml: gpu.interval is no duration; mend it"
    assert (problem["action"], problem["subject"], problem["reason"], problem["remedy"]) == (
        "use",
        "a.toml",
        "gpu.interval is no duration",
        "mend it",
    )


@pytest.mark.parametrize(
    ("request_line", "body", "status", "says"),
    [
        ("GET /v1/nothing", None, 404, "there is nothing at /v1/nothing"),
        ("GET /v1/jobs/backup-9", None, 404, "this daemon has no such job"),
        ("DELETE /v1/status", None, 405, "/v1/status does not take DELETE"),
        ("POST /v1/bench/runs", b"{", 400, "it is no JSON"),
        ("POST /v1/bench/runs", b"[" * 60_000, 400, "it is no JSON"),
        ("POST /v1/bench/runs", b"[]", 400, "Input should be a valid dictionary"),
        ("POST /v1/bench/runs", b'{"endpoint": 1}', 400, "endpoint: Input should be a valid string"),
        ("POST /v1/bench/runs", b'{"endpoint": "\\ud800"}', 400, "endpoint: "),
        ("POST /v1/backup/runs", b'{"force": true}', 400, "force: Extra inputs are not permitted"),
        ("POST /v1/bench/runs", b" " * 70_000, 413, ""),
        ("GET /v1/events?limit=0", None, 400, "limit: "),
        ("GET /v1/events?limit=1&limit=2", None, 400, "limit: given more than once"),
        ("GET /v1/events?colour=red", None, 400, "colour: Extra inputs are not permitted"),
        ("GET /v1/status?x=1", None, 400, "x: Extra inputs are not permitted"),
        ("GET /v1/events?severity=grave", None, 400, "severity: "),
        ("GET /v1/events?since=nan", None, 400, "since: "),
        ("GET /v1/events?after_id=99999999999999999999", None, 400, "after_id: "),
        ("GET /v1/events?subject=%ff", None, 200, ""),
    ],
)
async def test_what_is_wrong_with_a_request_is_said(
    daemon: ControlDaemon, request_line: str, body: bytes | None, status: int, says: str
) -> None:
    method, target = request_line.split()
    answer = await raw(daemon, method, target, body)
    assert answer.status == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = json.loads(answer.body)
        assert problem["status"] == status
        assert says in problem["detail"]
        assert "Traceback" not in answer.body.decode()
    if status == 405:
        assert answer.headers["allow"] == "GET"


async def test_a_handler_that_fails_is_on_record_and_tells_the_client_nothing(tmp_path: Any) -> None:
    async def fail(_call: Call) -> Answer:
        raise RuntimeError("the secret is 42")

    broken = Route("GET", "/v1/broken/{what}", Access.READ, fail, "Fails.", StatusDocument)
    async with control_daemon(tmp_path, more_routes=(broken,)) as daemon:
        # Whatever bytes the request has, its event can be stored.
        answer = await raw(daemon, "GET", "/v1/broken/%ff" + "x" * 3000, None)
        assert answer.status == 500
        assert "42" not in answer.body.decode()
        (event,) = await daemon.events("control.failed")
        assert event.reason == "RuntimeError: the secret is 42"
        assert event.severity is Severity.ERROR
        assert "test_server.py" in str(event.evidence["where"])
        assert event.subject == "GET /v1/broken/{what}"
        assert len(str(event.evidence["request"])) < 600
        await daemon.history.flush()
        assert (await raw(daemon, "GET", "/v1/status", None)).status == 200


class RawAnswer:
    """What came back, taken apart by hand."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


async def raw(daemon: ControlDaemon, method: str, target: str, body: bytes | None) -> RawAnswer:
    """Send a request as it stands."""

    def send() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(daemon.path))
            head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            if body is not None:
                head += f"Content-Length: {len(body)}\r\n"
            answer = b""
            try:
                connection.sendall(head.encode("utf-8", "surrogateescape") + b"\r\n" + (body or b""))
                while piece := connection.recv(65536):
                    answer += piece
            except (BrokenPipeError, ConnectionResetError):
                pass  # it answered before it had read everything
            return answer

    return RawAnswer(await anyio.to_thread.run_sync(send))
