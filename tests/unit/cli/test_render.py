from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from aiidpd.api.document import field_names, parse
from aiidpd.cli import render
from aiidpd.cli.text import Paint
from aiidpd.components.backup.api import BackupDocument, RunResultDocument
from aiidpd.components.backup.view import RunProgress
from aiidpd.components.bench.api import BenchDocument
from aiidpd.components.containers.api import ContainerDocument, ContainersDocument
from aiidpd.components.thermal.api.gpus import GpusDocument
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.daemon.api import ConditionDocument, StatusDocument, WorkerDocument
from aiidpd.history.api import EventDocument
from tests.documents import as_dict

NOW = 1_800_000_000.0
PLAIN = Paint()


def worker(name: str, **more: Any) -> dict[str, Any]:
    given = {
        "name": name,
        "state": "running",
        "up": True,
        "reason": "",
        "simulated": False,
        "started_at": NOW - 60,
        "last_success_at": NOW - 2,
        "last_duration": 0.0021,
        "passes": 30,
        "failed_passes": 0,
        "restarts": 0,
    }
    return as_dict(parse(WorkerDocument, given | more))


def status(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "version": "1.2.3",
        "now": NOW,
        "started_at": NOW - 60,
        "uptime_seconds": 60.0,
        "healthy": True,
        "simulated": False,
        "workers": [worker("thermal"), worker("backup")],
        "conditions": [],
    }
    return as_dict(parse(StatusDocument, given | more))


def empty(kind: Any, **more: Any) -> dict[str, Any]:
    return as_dict(parse(kind, {"read_at": NOW, "reason": "", "simulated": False} | more))


def unknown_gpu(**more: Any) -> GpuReading:
    fields = field_names(GpuReading)
    given: dict[str, Any] = dict.fromkeys(fields) | {"fans": [], "mig_instances": []}
    return parse(GpuReading, given | {"index": 0, "uuid": "GPU-1", "name": "L4"} | more)


def overview(paint: Paint = PLAIN, *, fit: bool = False, **sections: Any) -> str:
    documents = {
        "status": status(),
        "gpus": empty(GpusDocument),
        "containers": empty(ContainersDocument),
        "backup": empty(BackupDocument),
        "bench": empty(BenchDocument),
    }
    return render.render_overview(**(documents | sections), paint=paint, fit=fit)


def test_a_quiet_daemon() -> None:
    lines = overview().split("\n")
    assert lines[0] == "aiidpd 1.2.3  healthy  up 1 min"
    assert lines[2] == "WORKER   STATE    LAST GOOD    TOOK  PASSES  FAILED  RESTARTS"
    assert lines[3] == "thermal  running  2 s ago    2.1 ms      30       0         0"
    assert "SIMULATED" not in "\n".join(lines)


def test_sections_may_be_left_out() -> None:
    text = overview(gpus=None, containers=None, backup=None, bench=None)
    assert text.split("\n")[-1].startswith("backup")


def test_what_is_simulated_says_so_wherever_it_is_shown() -> None:
    text = overview(
        status=status(simulated=True, workers=[worker("thermal", simulated=True), worker("backup")]),
        gpus=empty(GpusDocument, simulated=True),
    )
    assert "SIMULATED: thermal" in text.split("\n")[0]
    assert re.search(r"^thermal .* SIMULATED$", text, re.MULTILINE)
    assert "GPUs  SIMULATED" in text


def test_what_is_wrong_stands_with_its_reason_and_remedy() -> None:
    text = overview(
        status=status(
            healthy=False,
            workers=[worker("bench", up=False, state="degraded", reason="no endpoint answers")],
            conditions=[
                ConditionDocument(
                    type="worker",
                    subject="bench",
                    severity="error",
                    reason="down",
                    remedy="start it",
                    since=NOW - 90,
                    source="supervisor",
                    runbook="docs/runbooks/Down.md",
                    simulated=True,
                )
            ],
        )
    )
    assert "UNHEALTHY" in text
    assert re.search(r"^bench +degraded .* no endpoint answers$", text, re.MULTILINE)
    assert "error    worker bench: down (for 1.5 min) SIMULATED\n" in text
    assert "         start it; docs/runbooks/Down.md" in text


def test_a_reason_is_said_once() -> None:
    reason = "cannot list the containers: there is no such socket"
    down = worker("containers", up=False, state="degraded", reason=reason)
    section = empty(ContainersDocument, read_at=None, reason=reason)
    condition = ConditionDocument(
        type="worker",
        subject="containers",
        severity="warning",
        reason=f"degraded: {reason}",
        remedy="",
        since=NOW,
        source="supervisor",
        runbook="",
        simulated=False,
    )
    for conditions in ([condition], []):
        text = overview(status=status(workers=[down], conditions=conditions), containers=section)
        assert text.count(reason) == 1


def test_tables_fit_the_terminal_and_prose_is_whole() -> None:
    gpus = empty(GpusDocument, gpus=[unknown_gpu(name="a name that is long " * 3)], reason="words " * 40)
    held = empty(ContainersDocument, containers=[container("c" * 60_000, image="i" * 90)])
    text = overview(Paint(width=80), gpus=gpus, containers=held)
    assert "words " * 39 in text
    lines = [line for line in text.split("\n") if not line.startswith("words")]
    assert max(map(len, lines)) <= 80
    assert "ccc… " in text
    piped = overview(gpus=gpus, containers=held)
    assert "a name that is long " * 2 in piped
    assert len(piped) < 10_000  # not even a pipe is given sixty kilobytes of a name


def test_a_gpu_that_says_little_shows_dashes_never_zeros() -> None:
    lines = render.gpu_table(empty(GpusDocument, gpus=[unknown_gpu()]), PLAIN)
    assert lines[1].split() == ["0", "L4", "-", "-", "-", "-", "-", "-", "-"]


def test_a_gpu_with_everything() -> None:
    gpu = unknown_gpu(
        temperature_celsius=61.4,
        power_watts=55.2,
        power_limit_watts=72.0,
        fan_ratio=0.3,
        utilisation_ratio=0.93,
        memory_used_bytes=2**34,
        memory_total_bytes=3 * 2**33,
        graphics_clock_hertz=2.04e9,
        clock_events=["sw_power_cap"],
    )
    fault = GpuFault(index=1, call="nvmlDeviceGetName", code=15, name="GPU_IS_LOST")
    lines = render.gpu_table(empty(GpusDocument, gpus=[gpu], faults=[fault]), PLAIN)
    assert lines[0] == "GPU  NAME   TEMP    POWER   FAN  LOAD         MEMORY     CLOCK  SLOWED BY"
    assert lines[1] == "  0  L4    61 °C  55/72 W  30 %  93 %  16.0/24.0 GiB  2040 MHz  sw_power_cap"
    assert lines[2] == "GPU 1: nvmlDeviceGetName says GPU_IS_LOST"


def container(name: str, **more: Any) -> ContainerDocument:
    given = {
        "id": f"{name}-id",
        "name": name,
        "image": "img",
        "state": "running",
        "health": None,
        "exit_code": None,
        "oom_killed": False,
        "restart_count": 0,
        "started_at": NOW - 3600,
        "finished_at": None,
        "project": "",
        "service": "",
        "restart_policy": "no",
        "gpu": False,
    }
    return parse(ContainerDocument, given | more)


def test_containers_that_need_a_look_come_first_and_the_rest_is_counted() -> None:
    many = [container(f"calm-{number:02}") for number in range(20)]
    many += [container("ill", health="unhealthy"), container("dead", state="exited", exit_code=137)]
    document = empty(ContainersDocument, containers=many, unreadable=[{"id": "f" * 64, "name": "stuck"}])
    lines = render.container_table(document, NOW, PLAIN, most=5)
    assert lines[1].startswith("dead       exited (137)")
    assert lines[2].startswith("ill        running")
    assert lines[6] == "and 17 more: aiidpctl containers list"
    assert lines[7] == "stuck (ffffffffffff): can't be read"
    assert render.count_states(document) == "1 exited, 21 running"
    assert len(render.container_table(document, NOW, PLAIN)) == 24


def test_a_container_that_aiidpd_paused_says_why_and_until_when() -> None:
    pause = {"gpu": "GPU 0", "reason": "it is hot", "since": NOW - 10, "until": NOW + 110}
    document = empty(ContainersDocument, containers=[container("vllm", state="paused", pause=pause)])
    lines = render.container_table(document, NOW, PLAIN)
    assert lines[1].startswith("vllm       paused")
    assert lines[2].startswith("vllm: paused by aiidpd because GPU 0 is hot; until 20")
    assert lines[2].endswith(" at the latest")


def test_a_backup_that_goes_on_and_one_that_failed() -> None:
    document = empty(
        BackupDocument,
        configured=True,
        source="/models",
        target="/backup",
        schedule="Sun 03:00",
        last_success_at=NOW - 7200,
        next_run_at=NOW + 86400 * 3,
        running=RunProgress(phase="copying", files_done=1, files=4, bytes_done=2**20, bytes=2**30),
        last_run=RunResultDocument(
            succeeded=False,
            ended_at=NOW - 60,
            seconds=1.0,
            snapshot="",
            copied_files=0,
            copied_bytes=0,
            linked_files=0,
            linked_bytes=0,
            error="no space left",
        ),
    )
    assert render.backup_lines(document, NOW) == [
        "/models to /backup, Sun 03:00",
        "last verified 2 h ago, 0 snapshots, next in 3 d",
        "now copying: 1 of 4 files, 1.0 MiB of 1.0 GiB",
        "the last run failed 1 min ago: no space left",
    ]


def test_every_line_fits_the_width_it_is_given() -> None:
    gpus = empty(GpusDocument, gpus=[unknown_gpu(name="x" * 200)], simulated=True, reason="y" * 300)
    for colour in (False, True):
        text = overview(Paint(colour, 60), fit=True, gpus=gpus)
        seen = [re.sub("\x1b.*?m", "", line) for line in text.split("\n")]
        assert max(map(len, seen)) == 60
        assert ("\x1b" in text) == colour


def test_names_from_elsewhere_can_not_steer_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\r\n"
    text = overview(
        status=status(workers=[worker("thermal", reason=evil)], version=evil),
        gpus=empty(GpusDocument, gpus=[unknown_gpu(name=evil)], reason=evil),
        containers=empty(ContainersDocument, containers=[container(evil, state=evil)]),
    )
    assert not set(text) & {"\x1b", "\x07", "\r"}


def test_an_event_is_a_line() -> None:
    event = EventDocument(
        id=1,
        time=NOW,
        source="x",
        kind="container.died",
        subject="web",
        severity="error",
        reason="it\nfell",
        evidence={},
        simulated=True,
    )
    line = render.event_line(as_dict(event), PLAIN)
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  error    container\.died web: it fell  SIMULATED", line
    )


@dataclass
class JobCase:
    given: dict[str, Any]
    line: str


@pytest.mark.parametrize(
    "case",
    [
        JobCase({}, "b-1: queued"),
        JobCase(
            {"message": "copying", "done": 2**20, "total": 2**22, "unit": "bytes"},
            "b-1: copying  1.0 MiB of 4.0 MiB, 25 %",
        ),
        JobCase(
            {"message": "probing", "done": 1, "total": 3, "unit": "endpoints"},
            "b-1: probing  1 of 3 endpoints, 33 %",
        ),
    ],
)
def test_the_progress_of_a_job(case: JobCase) -> None:
    job = {"id": "b-1", "state": "queued", "message": "", "done": 0, "total": 0, "unit": ""} | case.given
    assert render.job_progress(job) == case.line


def test_alerts() -> None:
    alert = {
        "name": "GpuLost",
        "stage": "firing",
        "severity": "error",
        "summary": "GPU 0 can't\nbe read",
        "remedy": "look",
        "runbook": "docs/runbooks/GpuLost.md",
        "since": NOW - 90,
        "known_at": NOW - 10,
        "condition": "holds",
        "simulated": False,
        "restored": False,
    }
    unsure = alert | {"stage": "pending", "severity": "warning", "condition": "unknown", "simulated": True}
    kept = alert | {"restored": True}
    assert "(from before the restart)" in render.alert_lines([kept], NOW, PLAIN)[0]
    assert render.alert_lines([alert, unsure], NOW, PLAIN) == [
        "error    firing   GpuLost: GPU 0 can't be read (for 1.5 min)",
        "                  look; docs/runbooks/GpuLost.md",
        "warning  pending  GpuLost: GPU 0 can't be read (for 1.5 min) (last known 10 s ago) SIMULATED",
        "                  look; docs/runbooks/GpuLost.md",
    ]
