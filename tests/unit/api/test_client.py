from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio.to_thread
import pytest

from aiidpd.api.client import (
    AccessDenied,
    ControlClient,
    ControlError,
    DaemonUnreachable,
    RequestFailed,
)
from tests.fakes.control import ControlDaemon
from tests.unprivileged import as_nobody
from tests.waiting import PATIENCE

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def server(path: Path, *conversations: Callable[[socket.socket], None]) -> Iterator[None]:
    """Serve one connection after the other, each by its function."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for converse in conversations:
                connection, _ = listener.accept()
                with connection:
                    converse(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_no_socket_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(
        DaemonUnreachable, match=r"a\.sock: there is no such socket; is aiidpd running\?"
    ) as error:
        ControlClient(str(tmp_path / "a.sock")).get("/v1/status")
    assert error.value.exit_code == 3


def test_a_socket_that_nobody_listens_on_is_unreachable(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "a.sock"))
    with pytest.raises(DaemonUnreachable, match="nobody listens there"):
        ControlClient(str(tmp_path / "a.sock")).get("/v1/status")


@pytest.mark.parametrize("path", ["a" * 200, "nul\0nul"])
def test_a_path_that_no_socket_can_have_is_unreachable(path: str) -> None:
    with pytest.raises(DaemonUnreachable):
        ControlClient(path).get("/v1/status")


def test_silence_is_unreachable(tmp_path: Path) -> None:
    release = threading.Event()
    with server(tmp_path / "a.sock", lambda _: (release.wait(PATIENCE), None)[1]):
        with pytest.raises(DaemonUnreachable, match=r"it did not answer within 0\.2 s"):
            ControlClient(str(tmp_path / "a.sock"), timeout=0.2).get("/v1/status")
        release.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\x01 not HTTP",
        OK,
        OK + b"Content-Length: 100\r\n\r\n{}",
        OK + b"Content-Length: 3\r\n\r\nnot",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300,
    ],
)
def test_what_is_no_answer_is_unreachable(tmp_path: Path, answer: bytes) -> None:
    def converse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with server(tmp_path / "a.sock", converse), pytest.raises(DaemonUnreachable):
        ControlClient(str(tmp_path / "a.sock"), timeout=PATIENCE).get("/v1/status")


def test_an_error_that_is_no_problem_document_is_still_an_error(tmp_path: Path) -> None:
    def converse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 502 Bad\r\nContent-Length: 4\r\n\r\noops")

    with (
        server(tmp_path / "a.sock", converse),
        ControlClient(str(tmp_path / "a.sock")) as client,
        pytest.raises(RequestFailed, match="status 502") as error,
    ):
        client.get("/v1/status")
    assert error.value.exit_code == 1


def test_an_answer_before_the_request_was_read_is_seen(tmp_path: Path) -> None:
    def converse(connection: socket.socket) -> None:
        connection.sendall(b'HTTP/1.1 503 Busy\r\nContent-Length: 18\r\n\r\n{"detail": "full"}')

    with (
        server(tmp_path / "a.sock", converse),
        ControlClient(str(tmp_path / "a.sock")) as client,
        pytest.raises(RequestFailed, match="full"),
    ):
        client.post("/v1/backup/runs", {"x": "y" * 1_000_000})


def test_a_connection_closed_while_idle_is_opened_again_for_a_look(tmp_path: Path) -> None:
    def converse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")

    with server(tmp_path / "a.sock", converse, converse), ControlClient(str(tmp_path / "a.sock")) as client:
        assert client.get("/v1/status") == {}
        assert client.get("/v1/status") == {}


def test_a_change_is_never_sent_twice(tmp_path: Path) -> None:
    changes = []

    def converse(connection: socket.socket) -> None:
        # It answers a look, reads whatever comes next on the same connection, and dies.
        while request := connection.recv(65536):
            changes.append(request.split()[0])
            if not request.startswith(b"GET"):
                return
            connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")

    with server(tmp_path / "a.sock", converse, converse), ControlClient(str(tmp_path / "a.sock")) as client:
        client.get("/v1/status")
        with pytest.raises(DaemonUnreachable, match="it closed the connection"):
            client.post("/v1/backup/runs")
    assert changes == [b"GET", b"POST"]


def test_a_stream_that_breaks_off_is_not_taken_for_its_end(tmp_path: Path) -> None:
    def converse(connection: socket.socket) -> None:
        connection.recv(65536)
        head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b'1b\r\n{"heartbeat": 1}\n{"id": 1}\n\r\n')

    with server(tmp_path / "a.sock", converse):
        stream = ControlClient(str(tmp_path / "a.sock")).stream("/v1/events")
        assert next(stream) == {"id": 1}
        with pytest.raises(DaemonUnreachable):
            next(stream)


def test_a_stream_that_ends_as_it_should_ends(tmp_path: Path) -> None:
    def converse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(OK + b'Transfer-Encoding: chunked\r\n\r\na\r\n{"id": 1}\n\r\n0\r\n\r\n')

    with server(tmp_path / "a.sock", converse):
        assert list(ControlClient(str(tmp_path / "a.sock")).stream("/v1/events")) == [{"id": 1}]


async def test_a_stream_gives_events_and_leaves_heartbeats_out(daemon: ControlDaemon) -> None:
    for number in range(3):
        daemon.say(reason=str(number))

    def first(count: int) -> list[str]:
        with closing(ControlClient(str(daemon.path)).stream("/v1/events", limit=2)) as stream:
            return [next(stream)["reason"] for _ in range(count)]

    assert await anyio.to_thread.run_sync(first, 2) == ["1", "2"]


async def test_problems_carry_their_document(daemon: ControlDaemon) -> None:
    with ControlClient(str(daemon.path)) as client, pytest.raises(RequestFailed) as error:
        await anyio.to_thread.run_sync(client.get, "/v1/jobs/none")
    assert isinstance(error.value, ControlError)
    assert (error.value.status, error.value.exit_code) == (404, 1)
    assert error.value.problem["remedy"] == "ids end with a restart"


def test_a_socket_that_one_may_not_use_is_denied(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "a.sock"))
        listener.listen()
        (tmp_path / "a.sock").chmod(0)
        said = as_nobody(lambda: ControlClient("a.sock").get("/v1/status"), tmp_path)
    assert said.startswith("AccessDenied: ")
    assert "this user may not use the socket" in said
    assert AccessDenied.exit_code == 4


def test_the_client_needs_the_standard_library_alone() -> None:
    script = (
        "import sys; before = set(sys.modules); import aiidpd.cli.main, aiidpd.daemon.cli_text;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    foreign = set(found.stdout.split()) - sys.stdlib_module_names - {"aiidpd"}
    assert foreign == set()


def test_a_command_loads_its_own_group_and_nothing_of_the_daemon() -> None:
    script = (
        "import sys, aiidpd.cli.main as m; m.parser(['reload']).parse_args(['reload']);"
        "print(*sorted(name for name in sys.modules if name.startswith('aiidpd.')))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) == {
        "aiidpd.cli",
        "aiidpd.cli.main",
        "aiidpd.daemon",
        "aiidpd.daemon.cli",
        "aiidpd.cli.session",
        "aiidpd.cli.text",
        "aiidpd.api",
        "aiidpd.api.client",
        "aiidpd.api.wire",
    }


def test_the_overview_loads_the_text_of_its_sections_and_nothing_of_the_library() -> None:
    script = (
        "import sys, aiidpd.cli.main as m; m.parser(['status']).parse_args(['status']);"
        "before = set(sys.modules); import aiidpd.daemon.cli_text; print(*(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    components = "aiidpd.components"
    assert set(found.stdout.split()) == {
        "aiidpd.daemon.cli_text",
        "aiidpd.cli.engine_text",
        components,
        *(f"{components}.{name}" for name in ("thermal", "containers", "backup", "bench")),
        *(f"{components}.{name}.cli_text" for name in ("containers", "backup", "bench")),
        f"{components}.thermal.cli",
        f"{components}.thermal.cli.text",
    }


def test_a_command_does_not_load_what_takes_longer_than_its_work() -> None:
    script = (
        "import sys, aiidpd.cli.main as m; m.parser(['status']).parse_args(['status']);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    slow = {"dataclasses", "email", "http", "inspect", "shutil", "ssl", "typing", "urllib"}
    assert set(found.stdout.split()) & slow == set()
