"""Parts of the machine that the demo finds, and its words where it finds none."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aiidpd.demo.find import METRICS_PORT, Served, free_port, served
from aiidpd.demo.main import metrics_at
from tests import ports
from tests.waiting import PATIENCE


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # how soon it sees that it shall end
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


MODELS = json.dumps({"data": [{"id": "llama"}, {"id": "other"}]}).encode()


def test_the_first_server_that_lists_a_model_is_taken():
    with answering(b"<html>", 200) as page, answering(b"", 404) as lost, answering(MODELS) as engine:
        assert served([page, lost, engine], PATIENCE) == Served(engine, "llama")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"data": []}', b'{"data": 3}', b'{"data": [{}]}', b"\xff"]
)
def test_what_lists_no_model_is_no_engine(body: bytes):
    with answering(body) as url:
        assert served([url], PATIENCE) is None


def test_nobody_is_no_engine():
    assert served(["http://127.0.0.1:1"], PATIENCE) is None


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    with answering(MODELS) as engine, answering(b"", 500) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        assert served([engine], PATIENCE) == Served(engine, "llama")


def test_a_port_that_is_taken_is_not_wanted():
    port = ports.free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        other = free_port(port)
        assert other not in (0, port)
        assert metrics_at(other, {}).startswith(
            f"metrics: http://127.0.0.1:{other}/metrics (port 9753 is taken"
        )
    assert free_port(port) == port
    assert metrics_at(METRICS_PORT, {}) == "metrics: http://127.0.0.1:9753/metrics"
    listen = {"AIIDPD_TELEMETRY__LISTEN": "127.0.0.1:1"}
    assert metrics_at(METRICS_PORT, listen) == "metrics: 127.0.0.1:1 (AIIDPD_TELEMETRY__LISTEN)"
