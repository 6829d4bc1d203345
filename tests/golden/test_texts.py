"""The words and documents that ``aiidpctl`` writes, of the daemon's own documents as they were once.

Where golden files are written anew, the documents of the other tests of this folder are before these.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from aiidpd.cli.main import main
from aiidpd.components.physics import cli_claims
from tests.golden.golden import FOLDER, equals_golden
from tests.golden.observed import ENDED, READ

DOCUMENTS: Final = FOLDER / "documents"
POSTED: Final = {
    "/v1/backup/runs": "backup_run",
    "/v1/bench/runs": "bench_run",
    "/v1/gpus/release": "gpus_release",
    "/v1/gpus/resume": "gpus_resume",
    "/v1/config/reload": "config_reload",
}
COMMANDS: Final = (
    "status",
    "events",
    "events --follow",
    "alerts",
    "models",
    "models usage",
    "models duplicates",
    "gpu",
    "gpu energy",
    "gpu export --gpu 0",
    "gpu release --for 60s",
    "gpu resume",
    "incidents list",
    "incidents show 20270115T080049Z",
    "containers",
    "audit --fail-on never",
    "engines",
    "engines show simulated",
    "backup list",
    "backup run",
    "backup run --no-wait",
    "bench list",
    "bench regressions",
    "bench run --endpoint simulated",
    "bench run --no-wait",
    "physics claims",
    "physics estimate --weights 4.58GiB --gpu 4090",
    "jobs",
    "jobs list",
    "jobs follow JOB",
    "config show",
    "config show --origin",
    "reload",
)
NOT_FOUND: Final = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is none"}


def stored(name: str) -> Any:
    """Return the golden document ``name``."""
    return json.loads((DOCUMENTS / f"{name}.json").read_text())


def answers() -> dict[str, list[Any]]:
    """Return what the server answers with, by method and path: a document, or the lines of a stream."""
    found = {f"GET {urlsplit(path).path}": [stored(name)] for name, path in READ.items()}
    found |= {f"POST {path}": [stored(name)] for path, name in POSTED.items()}
    for name in ("backup", "bench"):
        queued, ended = stored(f"{name}_run"), stored(f"{name}_job")
        found[f"GET /v1/jobs/{queued['id']}"] = [queued, ended]
    found["GET /v1/gpus/history"] = stored("gpus_history")
    incident = stored("incident")
    found[f"GET /v1/incidents/{incident['id']}"] = [incident]
    return found


class Handler(BaseHTTPRequestHandler):
    """Answers from what is stored."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def _answer(self) -> None:
        split = urlsplit(self.path)
        found = self.server.answers.get(f"{self.command} {split.path}")  # type: ignore[attr-defined]
        if split.path == "/v1/events" and "follow" in split.query:
            found = found[0]["events"]
        body = "".join(json.dumps(each) + "\n" for each in found or [NOT_FOUND]).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name in the library
        """Say nothing."""

    def address_string(self) -> str:
        return "unix"


class Server(ThreadingUnixStreamServer):
    """Serves ``answers`` at the Unix socket ``path``."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.answers = answers()


@contextmanager
def serving(path: Path) -> Iterator[None]:
    with Server(path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Path]:
    with serving(tmp_path / "control.sock"):
        yield tmp_path / "control.sock"


@pytest.mark.usefixtures("utc")
def test_what_every_command_writes(
    socket: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "time", lambda: ENDED + 10)
    monkeypatch.setattr(cli_claims, "OWN", socket.with_name("claims.toml"))  # not what this machine has
    monkeypatch.setenv("COLUMNS", "80")
    job = stored("backup_job")["id"]
    for command in COMMANDS:
        said = []
        words = command.replace("JOB", job).split()
        for arguments in (words, [*words, "--json"]):
            code = main(["--socket", str(socket), *arguments])
            written = capsys.readouterr()
            head = f"$ aiidpctl {' '.join(arguments)}  (ends with {code})\n"
            said += [
                head,
                written.out.replace("\r\n", "\\r\n"),
                *(f"(stderr) {line}\n" for line in written.err.splitlines()),
            ]
        name = "-".join(word.strip("-") for word in command.split())
        equals_golden("".join(said), f"commands/{name}.txt")
