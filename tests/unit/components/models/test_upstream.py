"""The hub's answers: the real protocol of the stand-in, and whatever an endpoint may answer instead."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from aiidpd.components.models import upstream
from aiidpd.components.models.branches import branches
from aiidpd.components.models.record import RevisionRecord
from aiidpd.components.models.registry import upstream_of
from aiidpd.components.models.upstream import Hub
from aiidpd.components.models.view import UpstreamState
from aiidpd.formats.model_files import Layout
from tests.fakes.hub import Hub as FakeHub
from tests.ports import free_port
from tests.unit.components.models.site import made_up

COMMIT = "c" * 40


@contextmanager
def endpoint(status: int, body: bytes, seen: list[str] | None = None) -> Iterator[str]:
    """Serve one answer for everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if seen is not None:
                seen.append(f"{self.path} {self.headers.get('Authorization', '')}")
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def ask(url: str, token: str | None = None, name: str = "owner/model") -> RevisionRecord:
    hub = Hub(url, token, lambda: 7.0)
    try:
        return await hub.newest(name, "main")
    finally:
        await hub.aclose()


async def test_the_newest_commit_of_a_branch(tmp_path: Path) -> None:
    with FakeHub(tmp_path / "hub") as hub:
        older = hub.publish("owner/model", {"a": b"1"})
        assert await ask(hub.url) == RevisionRecord(7.0, older.commit, "")
        newer = hub.publish("owner/model", {"a": b"2"})
        assert (await ask(hub.url)).commit == newer.commit != older.commit
        missing = await ask(hub.url, name="owner/other")
        assert (missing.commit, missing.reason) == ("", "the endpoint has no such model or branch")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, b"", "wants a token"),
        (403, b"", "refuses"),
        (429, b"", "enough requests"),
        (307, b"", "answers 307"),
        (500, b"x", "answers 500"),
        (200, b"<html>", "no JSON"),
        (200, b"null", "empty"),
        (200, b"[" * 100_000, "no JSON"),
        (200, b"[1]", "names no commit"),
        (200, b'{"sha": 5}', "names no commit"),
        (200, json.dumps({"sha": "../../etc"}).encode(), "names no commit"),
        (200, b'{"x": "' + b"a" * (upstream.MOST_BYTES + 10) + b'"}', "longer than 8 MiB"),
    ],
)
async def test_whatever_it_answers_is_a_reason(status: int, body: bytes, reason: str) -> None:
    with endpoint(status, body) as url:
        found = await ask(url)
    assert found.commit == ""
    assert reason in found.reason


async def test_offline_is_a_reason() -> None:
    assert "no answer: connection refused" in (await ask(f"http://127.0.0.1:{free_port()}")).reason


async def test_one_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "PATIENCE", 0.05)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # accepts, and serves nobody
    try:
        found = await ask(f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.server_close()
    assert "did not answer" in found.reason


async def test_the_token_and_the_name_are_sent_and_nothing_can_leave_the_path() -> None:
    seen: list[str] = []
    with endpoint(200, json.dumps({"sha": COMMIT}).encode(), seen) as url:
        assert (await ask(url, token="hf_secret", name="owner/mo?del#x")).commit == COMMIT
    assert seen == ["/api/models/owner/mo%3Fdel%23x/revision/main Bearer hf_secret"]


def test_current_newer_or_not_known() -> None:
    here = made_up("owner/model", "/a", layout=Layout.HUGGING_FACE, repository="owner/model", revision=COMMIT)
    other = made_up("mine", "/b")
    assert branches([here, here, other]) == (("owner/model", "main"),)
    assert upstream_of(other, {}) == (UpstreamState.NONE, None)
    assert upstream_of(here, {})[0] is UpstreamState.UNKNOWN
    for commit, state in ((COMMIT, "current"), ("d" * 40, "newer"), ("", "unknown")):
        assert upstream_of(here, {"owner/model@main": RevisionRecord(1.0, commit, "")})[0] == state
