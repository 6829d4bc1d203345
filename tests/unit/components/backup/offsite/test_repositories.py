"""Repositories whose program prints what no sound one would: a script in its place, on a real snapshot."""

from pathlib import Path

import pytest

from aiidpd.components.backup.offsite import conditions
from aiidpd.components.backup.offsite.result import Failure
from aiidpd.components.backup.offsite.settings import RepositorySettings
from aiidpd.kernel.jobs import JobState
from tests.fakes.offsite import OffsiteSite, rclone_at, restic_at

SUMMARY = (
    '{"message_type":"summary","data_added":1,"total_bytes_processed":%d,"total_files_processed":%d,'
    '"snapshot_id":"694d3eb4"}'
)


@pytest.fixture
def site(tmp_path: Path) -> OffsiteSite:
    site = OffsiteSite(tmp_path)
    site.write("model.gguf", 5000)
    site.backup()
    return site


def script(site: OffsiteSite, **answers: str) -> None:
    """Put a script in the place of both programs: it does what ``answers`` has for its first word."""
    path = site.root / "program"
    cases = "\n".join(f"{word}) {answer} ;;" for word, answer in answers.items())
    path.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}\n*) exit 0 ;;\nesac\n')
    path.chmod(0o755)
    site.restic = site.rclone = str(path)


def far(site: OffsiteSite, engine: str) -> RepositorySettings:
    return restic_at("/srv/far") if engine == "restic" else rclone_at("nas:far", site.root / "rclone.conf")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("engine", "answers", "expected"),
    [
        ("restic", {"snapshots": "head -c 2000000 /dev/urandom"}, Failure.GARBAGE),
        ("restic", {"snapshots": "echo '[]'", "backup": "head -c 2000000 /dev/urandom"}, Failure.GARBAGE),
        ("restic", {"snapshots": "echo '[]'", "backup": "yes x | head -n 300000 >&2; exit 1"}, Failure.OTHER),
        ("restic", {"snapshots": "kill -9 $$"}, Failure.ENDED),
        ("restic", {"snapshots": "echo null", "backup": f"echo '{SUMMARY % (1, 1)}'"}, Failure.INCOMPLETE),
        ("restic", {"snapshots": "echo null", "backup": "exit 3"}, Failure.INCOMPLETE),
        ("rclone", {"cat": "head -c 2000000 /dev/urandom"}, Failure.GARBAGE),
        ("rclone", {"cat": "exit 3"}, Failure.NO_REPOSITORY),
        (
            "rclone",
            {"cat": """echo '{"aiidpd": "offsite", "version": 1}'""", "check": "head -c 90000 /dev/urandom"},
            Failure.GARBAGE,
        ),
        (
            "rclone",
            {"cat": """echo '{"aiidpd": "offsite", "version": 1}'""", "check": "exit 0"},
            Failure.GARBAGE,
        ),
    ],
)
async def test_what_can_not_be_understood_is_no_success(
    site: OffsiteSite, engine: str, answers: dict[str, str], expected: Failure
) -> None:
    script(site, **answers)
    job = await site.done("run", far(site, engine))
    assert job.status.state is JobState.FAILED
    assert site.record().failure == expected, job.status.error
    assert len(job.status.error) < 1000
    assert job.status.error.isprintable()
    assert conditions.FAILED in site.wrong()
    assert site.record().covered_at == 0


@pytest.mark.anyio
async def test_a_program_that_is_missing_is_named_with_what_to_install(site: OffsiteSite) -> None:
    site.restic = "no-such-program"
    job = await site.done("run", far(site, "restic"))
    assert "apt-get install restic" in job.status.error
    assert conditions.FAILED in site.wrong()


@pytest.mark.anyio
async def test_a_snapshot_that_is_gone_or_empty_is_not_sent(site: OffsiteSite) -> None:
    assert site.snapshot is not None
    script(site, snapshots="echo null")
    for path in sorted(site.snapshot.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    job = await site.done("run", far(site, "restic"))
    assert "it holds no files" in job.status.error
    site.snapshot.folder.rmdir()
    job = await site.done("run", far(site, "restic"))
    assert "No such file" in job.status.error
