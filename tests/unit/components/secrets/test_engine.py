"""Answers of servers to keys: real ones never go to who does not refuse a wrong one."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiidpd.components.secrets.decide import Answer
from aiidpd.components.secrets.engine import query
from tests.fakes.keyed_engine import KeyedEngine, serving
from tests.ports import free_port

REAL = "5" * 64


def test_a_server_that_has_the_key_and_one_that_has_another() -> None:
    with serving(KeyedEngine(accepted=(REAL,))) as engine:
        found = query(engine.url, (REAL, "other"))
    assert (found.wrong, found.keys) == (Answer.REFUSED, (Answer.ACCEPTED, Answer.REFUSED))
    assert found.page == "/v1/models"
    assert engine.seen[0] not in (REAL, "other"), "a wrong key goes first"


def test_a_page_that_everybody_sees_says_nothing() -> None:
    public = frozenset({"/health", "/v1/models"})  # as some versions of llama.cpp have it
    with serving(KeyedEngine(accepted=(REAL,), public=public)) as engine:
        found = query(engine.url + "/v1/", (REAL,))
    assert (found.page, found.keys) == ("/props", (Answer.ACCEPTED,))


def test_a_server_that_answers_to_any_key_does_not_get_the_real_one() -> None:
    with serving(KeyedEngine(status=200)) as engine:
        found = query(engine.url, (REAL,))
    assert (found.wrong, found.keys) == (Answer.ACCEPTED, (Answer.UNKNOWN,))
    assert REAL not in engine.seen


@pytest.mark.parametrize("status", [404, 429, 500, 503, 302])
def test_nor_does_one_that_is_loading_or_is_something_else(status: int) -> None:
    with serving(KeyedEngine(status=status)) as engine:
        found = query(engine.url, (REAL,))
    assert (found.wrong, found.keys) == (Answer.UNKNOWN, (Answer.UNKNOWN,))
    assert f"status {status}" in found.reason
    assert REAL not in engine.seen


def test_nobody_there_is_no_refusal() -> None:
    found = query(f"http://127.0.0.1:{free_port()}", (REAL,))
    assert found.wrong is Answer.UNKNOWN
    assert "refused" in found.reason


@contextmanager
def speaking(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Serve each connection with ``answer``."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 xyz\r\n\r\n", b"\xff" * 70_000, b"HTTP/1.1 99999 x\r\n\r\n"]
)
def test_what_is_no_http_server_is_unknown(said: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(9000)
        connection.sendall(said)

    with speaking(answer) as url:
        found = query(url, (REAL,))
    assert found.wrong is Answer.UNKNOWN
    assert found.reason


def test_a_server_that_is_silent_is_waited_for_shortly() -> None:
    with speaking(lambda connection: connection.recv(9000) and connection.recv(1)) as url:
        found = query(url, (REAL,), timeout=0.2)
    assert "did not answer within 0.2 s" in found.reason


def test_no_proxy_of_the_environment_sees_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(KeyedEngine(accepted=(REAL,))) as engine, serving(KeyedEngine()) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert query(engine.url, (REAL,)).keys == (Answer.ACCEPTED,)
    assert proxy.seen == []


def test_a_certificate_that_nobody_vouches_for_is_no_server(tmp_path: Path) -> None:
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    )
    try:
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    heard: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                heard.append(secure.recv(9000))
        except OSError:
            pass

    with speaking(answer) as url:
        found = query(url.replace("http://127.0.0.1", "https://localhost"), (REAL,))
    assert "no TLS" in found.reason
    assert heard == []
