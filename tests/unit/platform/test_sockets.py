from __future__ import annotations

import fcntl
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.sockets import LONGEST_PATH, listen_tcp, listen_unix
from tests.unprivileged import as_nobody


def test_a_socket_has_mode_and_group_and_takes_connections(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    listener = listen_unix(path, mode=0o660, group=os.getgid())
    found = path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert listener.gid == found.st_gid == os.getgid()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()
    assert not path.exists()


def test_the_umask_neither_widens_nor_narrows_the_mode(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for number, mask in enumerate((0, 0o077, 0o777)):
            os.umask(mask)
            listener = listen_unix(tmp_path / f"{number}.sock", mode=0o660)
            assert stat.S_IMODE(listener.path.stat().st_mode) == 0o660
            listener.close()
    finally:
        os.umask(before)


def test_nobody_connects_before_mode_and_group_are_set(tmp_path: Path) -> None:
    # Whatever a watcher sees of the file while it is made is no wider than what was asked for.
    path = tmp_path / "a.sock"
    seen: set[int] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            try:
                seen.add(stat.S_IMODE(path.lstat().st_mode))
            except FileNotFoundError:
                continue

    before = os.umask(0)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(200):
            listen_unix(path, mode=0o640).close()
    finally:
        stop.set()
        watcher.join()
        os.umask(before)
    assert seen <= {0o600, 0o640}


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = listen_unix(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()


def test_a_live_listener_keeps_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    first = listen_unix(path)
    with pytest.raises(Misconfigured, match=r"another process listens there; stop the other instance"):
        listen_unix(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    first.close()


def test_a_listener_whose_backlog_is_full_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    clients = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            clients.append(client)
            if client.connect_ex(str(path)):
                break
        with pytest.raises(Misconfigured, match="another process listens there"):
            listen_unix(path)
    for client in clients:
        client.close()


@pytest.mark.parametrize("kind", ["file", "folder", "link to a socket", "fifo", "datagram"])
def test_what_is_no_socket_of_ours_is_never_touched(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.sock"
    other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "link to a socket":
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(tmp_path / "other.sock"))
            path.symlink_to(tmp_path / "other.sock")
        case "fifo":
            os.mkfifo(path)
        case "datagram":
            other.bind(str(path))
    before = path.lstat()
    with pytest.raises(Misconfigured, match=r"cannot listen on .*a\.sock: "):
        listen_unix(path)
    after = path.lstat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_mtime_ns,
    )
    other.close()


def test_a_path_that_is_too_long_is_named_with_its_length(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * (LONGEST_PATH - len(os.fsencode(tmp_path)) - 1))
    listen_unix(longest).close()
    with pytest.raises(Misconfigured, match="108 bytes long, and a socket's may have 107"):
        listen_unix(longest.with_name(longest.name + "x"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"the folder .*nowhere does not exist; create it"):
        listen_unix(tmp_path / "nowhere" / "a.sock")


def test_an_unknown_group_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="there is no group 'aiidpd-test-none'; create it"):
        listen_unix(tmp_path / "a.sock", group="aiidpd-test-none")
    assert not (tmp_path / "a.sock").exists()


def test_a_group_that_one_is_no_member_of_is_refused(tmp_path: Path) -> None:
    def listen() -> None:
        listen_unix(Path("a.sock"), group=0)

    said = as_nobody(listen, tmp_path)
    assert said.startswith("Misconfigured: cannot listen on a.sock: ")
    assert "make it a member of group 0" in said
    assert not (tmp_path / "a.sock").exists()


def test_closing_leaves_the_path_of_whoever_took_it_over(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    first = listen_unix(path)
    first.socket.close()
    second = listen_unix(path)
    first.close()
    assert path.exists()
    second.close()
    second.close()
    assert not path.exists()


def test_of_many_that_start_at_once_one_listens(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    ready = threading.Barrier(8)
    won, lost = [], []

    def start() -> None:
        ready.wait()
        try:
            won.append(listen_unix(path))
        except Misconfigured as error:
            lost.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    won[0].close()


def test_while_another_takes_the_folder_none_is_taken_for_stale(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(Misconfigured, match="another instance is taking its folder at this moment"):
        listen_unix(path)
    assert path.exists()
    os.close(folder)
    listen_unix(path).close()


def can_bind(host: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp_listens_on_loopback_and_says_when_the_port_is_taken(host: str) -> None:
    if not can_bind(host):  # a machine without IPv6, which must be told all the same
        with pytest.raises(Misconfigured, match=r"cannot listen on .*:0: \w+"):
            listen_tcp(host, 0)
        return
    with listen_tcp(host, 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            Misconfigured, match=f"cannot listen on .*:{port}: Address already in use; choose"
        ):
            listen_tcp(host, port)
