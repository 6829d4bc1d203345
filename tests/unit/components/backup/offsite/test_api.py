"""Requests about repositories: what is refused before a job is made, and what is shown."""

from pathlib import Path

import pytest

from aiidpd.api.document import parse
from aiidpd.api.route import Call, Route
from aiidpd.cli.text import Paint
from aiidpd.components.backup.offsite.api import (
    OffsiteDocument,
    OffsiteRestoreRequest,
    OffsiteRunRequest,
    routes,
)
from aiidpd.components.backup.offsite.cli_text import repository_lines, result_lines
from aiidpd.components.backup.offsite.state import RepositoryRecord
from aiidpd.components.backup.offsite.view import OffsiteProgress, OffsiteView, RepositoryView
from aiidpd.kernel.errors import Invalid, NotFound
from aiidpd.kernel.jobs import JobBook, JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus
from tests.documents import as_dict
from tests.fakes.clock import FakeClock

NOW = 1_800_000_000.0
SENT = RepositoryRecord(
    "far",
    "restic /srv/far",
    added_at=NOW,
    snapshot="20270115T080100Z",
    succeeded_at=NOW - 60,
    seconds=2.0,
    new_bytes=2**20,
    bytes=2**21,
    files=3,
    verified_at=NOW - 30,
    parts_read_at=(NOW - 30, 0.0),
)


class Table:
    """The routes, over a view that a test sets."""

    def __init__(self, clock: FakeClock) -> None:
        self.latest: Latest[OffsiteView] = Latest(clock, 1e9)
        self.book = JobBook(clock)
        queue = JobQueue(self.book, "backup.offsite")
        self.routes = {
            route.name: route
            for route in routes(
                self.latest, queue, lambda: WorkerStatus("backup.offsite"), lambda: (Path("/mnt/models"),)
            )
        }

    def show(self, *views: RepositoryView) -> None:
        self.latest.put(OffsiteView("20270115T080100Z", "", views))

    async def call(self, name: str, body: object = None) -> object:
        route: Route = self.routes[name]
        return await route.handler(Call({}, None, body, by="root"))


@pytest.fixture
def table(clock: FakeClock) -> Table:
    table = Table(clock)
    table.show(RepositoryView(SENT, "restic", "/srv/far", "", 2))
    return table


@pytest.mark.anyio
async def test_work_is_queued_for_a_repository_that_there_is(table: Table) -> None:
    await table.call("POST /v1/backup/offsite/runs", OffsiteRunRequest("far", "verify", all=True))
    assert table.book.all()[0].kind == "backup.offsite"
    with pytest.raises(NotFound, match="there are: far"):
        await table.call("POST /v1/backup/offsite/runs", OffsiteRunRequest("near"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("to", "snapshot"),
    [
        ("out", ""),
        ("/srv/../mnt/models/x", ""),
        ("/mnt/models", ""),
        ("/mnt/models/llama", ""),
        ("/mnt", ""),
        ("/", ""),
        ("/srv/a\0b", ""),
        ("/srv/out", "--help"),
        ("/srv/out", "latest"),
    ],
)
async def test_a_restore_to_where_it_must_not_go_is_refused(table: Table, to: str, snapshot: str) -> None:
    with pytest.raises(Invalid):
        await table.call("POST /v1/backup/offsite/restores", OffsiteRestoreRequest("far", to, snapshot))
    assert table.book.all() == ()


@pytest.mark.anyio
async def test_what_is_known_is_shown_and_what_is_not_is_null(table: Table) -> None:
    new = RepositoryRecord("new", "rclone nas:x", added_at=NOW)
    bad = RepositoryRecord(
        "bad",
        "rclone nas:y",
        added_at=NOW,
        failures=1,
        failed_at=NOW,
        error="no \x1b[31mroute",
        damage="a pack",
    )
    table.show(
        RepositoryView(SENT, "restic", "/srv/far", "", 2, running=OffsiteProgress("sending", 5, 10)),
        RepositoryView(new, "rclone", "nas:x", "", 2),
        RepositoryView(bad, "rclone", "nas:y", "", 2),
    )
    document = await table.call("GET /v1/backup/offsite")
    assert isinstance(document, OffsiteDocument)
    far, fresh, _ = document.repositories
    assert (far.parts_read, far.covered_at, far.new_bytes) == (1, None, 2**20)
    assert (fresh.succeeded_at, fresh.bytes, fresh.verified_at) == (None, None, None)
    shown = as_dict(document)
    assert parse(OffsiteDocument, shown) == document
    lines = repository_lines(shown, NOW, Paint())
    assert "sending 5 B of 10 B" in lines[1]
    assert "nothing sent yet" in lines[2]
    assert any("bad: DAMAGED: a pack" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_what_came_of_a_job_is_said_with_its_figures() -> None:
    run = {
        "snapshot": "20270115T080100Z",
        "stored_as": "694d3eb4",
        "files": 3,
        "bytes": 2**21,
        "new_bytes": 2**20,
        "new_bytes_per_second": 2**19,
        "verified": 1,
        "verified_of": 2,
        "verified_unit": "packs",
        "verify_seconds": 0.5,
    }
    sent, read = result_lines(run)
    assert "1.0 MiB are new at 512.0 KiB/s" in sent
    assert read == "1 of 2 packs read back in 0.5 s, all well"
    (restored,) = result_lines({"to": "/srv/out", "files": 3, "bytes": 5, "proven": True})
    assert "each proven by its SHA-256" in restored
    assert result_lines({"seconds": 1.0}) == []
