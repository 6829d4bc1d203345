from __future__ import annotations

import re
from typing import Any

from aiidpd.api.document import parse
from aiidpd.cli.text import Paint
from aiidpd.components.backup.api import BackupDocument
from aiidpd.components.bench.api import BenchDocument
from aiidpd.components.containers.api import ContainersDocument
from aiidpd.components.thermal.api.gpus import GpusDocument
from aiidpd.daemon.api import ConditionDocument, StatusDocument, WorkerDocument
from aiidpd.daemon.cli_text import render_overview, workers
from tests.documents import NOW, as_dict, container, empty, unknown_gpu

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


def overview(paint: Paint = PLAIN, *, fit: bool = False, **sections: Any) -> str:
    documents = {
        "status": status(),
        "gpus": empty(GpusDocument),
        "containers": empty(ContainersDocument),
        "backup": empty(BackupDocument),
        "bench": empty(BenchDocument),
    }
    return render_overview(**(documents | sections), paint=paint, fit=fit)


def test_a_quiet_daemon() -> None:
    lines = overview().split("\n")
    assert lines[0] == "aiidpd 1.2.3  healthy  up 1 min"
    assert lines[2] == "WORKER   STATE    LAST GOOD    TOOK  PASSES  FAILED  RESTARTS"
    assert lines[3] == "thermal  running  2 s ago    2.1 ms      30       0         0"
    assert "SIMULATED" not in "\n".join(lines)


def test_further_tasks_of_a_component_are_counted_while_they_are_up() -> None:
    names = ("backup", "backup.offsite", "models", "models.jobs")
    listed = workers(status(workers=[worker(name) for name in names]), PLAIN)
    assert [line.split()[0] for line in listed[1:-1]] == ["backup", "models"]
    assert listed[-1] == "2 further tasks of theirs are up: `aiidpctl status --all` lists them"
    every = workers(status(workers=[worker(name) for name in names]), PLAIN, parts=True)
    assert [line.split()[0] for line in every[1:]] == list(names)
    down = worker("backup.offsite", up=False, state="degraded")
    listed = workers(status(workers=[worker("backup"), down]), PLAIN)
    assert [line.split()[0] for line in listed[1:]] == ["backup", "backup.offsite"]


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
                    runbook="aiidpctl runbook Down",
                    simulated=True,
                )
            ],
        )
    )
    assert "UNHEALTHY" in text
    assert re.search(r"^bench +degraded .* no endpoint answers$", text, re.MULTILINE)
    assert "error    worker bench: down (for 1.5 min) SIMULATED\n" in text
    assert "         start it; aiidpctl runbook Down" in text


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


def test_a_section_without_rows_says_none_or_is_left_out_where_its_reason_stands_elsewhere() -> None:
    assert "\n\nContainers\nnone\n" in overview()
    reason = "nothing to do for the Docker Engine: there is no such socket"
    absent = worker("containers", state="inactive", reason=reason)
    section = empty(ContainersDocument, read_at=None, reason=reason)
    assert "Containers" not in overview(status=status(workers=[absent]), containers=section)
    assert f"\n\nContainers\n{reason}\n" in overview(containers=section)


def test_a_condition_about_the_whole_daemon_has_no_subject() -> None:
    condition = ConditionDocument(
        type="history",
        subject="",
        severity="error",
        reason="disk full",
        remedy="",
        since=NOW,
        source="history",
        runbook="",
        simulated=False,
    )
    assert "error    history: disk full" in overview(status=status(conditions=[condition]))
