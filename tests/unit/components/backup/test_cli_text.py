from __future__ import annotations

from aiidpd.cli.text import Paint
from aiidpd.components.backup.api import BackupDocument, RunResultDocument
from aiidpd.components.backup.cli_text import backup_lines
from aiidpd.components.backup.view import RunProgress
from tests.documents import NOW, empty

PLAIN = Paint()


def test_snapshots_of_a_target_that_was_not_read_are_not_counted() -> None:
    lacking = empty(
        BackupDocument, configured=True, source="/m", target="/b", schedule="daily", reason="/b is no folder"
    )
    assert backup_lines(lacking, NOW)[1] == "last good -"
    assert backup_lines(lacking | {"reason": ""}, NOW)[1] == "last good -, 0 snapshots"


def test_a_backup_that_goes_on_and_one_that_failed() -> None:
    document = empty(
        BackupDocument,
        configured=True,
        source="/models",
        target="/backup",
        schedule="Sun 03:00",
        last_success_at=NOW - 7200,
        next_run_at=NOW + 86400 * 3,
        running=RunProgress(
            work="run", phase="copying", files_done=1, files=4, bytes_done=2**20, bytes=2**30
        ),
        last_run=RunResultDocument(
            succeeded=False,
            ended_at=NOW - 60,
            seconds=1.0,
            snapshot="",
            unchanged=False,
            left_out=0,
            copied_files=0,
            copied_bytes=0,
            linked_files=0,
            linked_bytes=0,
            error="no space left",
        ),
    )
    assert backup_lines(document, NOW) == [
        "/models to /backup, Sun 03:00",
        "last good 2 h ago, 0 snapshots, next in 3 d",
        "now copying: 1 of 4 files, 1.0 MiB of 1.0 GiB",
        "the last run failed 1 min ago: no space left",
    ]
