from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiidpd.platform.notify import Notifier
from tests.waiting import PATIENCE


class Manager:
    """What systemd is to a daemon: a datagram socket that is read, or not."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0)

    def heard(self) -> list[bytes]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(65_536))
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@aiidpd-test-{uuid.uuid4()}")
    yield manager
    manager.close()


@pytest.fixture
def notifier(manager: Manager) -> Iterator[Notifier]:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000"})
    yield notifier
    notifier.close()


def test_each_message_is_what_systemd_reads(manager: Manager, notifier: Notifier) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    notifier.ready()
    notifier.status("3 workers run")
    notifier.reloading()
    notifier.watchdog()
    notifier.extend_timeout(2.5)
    notifier.stopping()
    ready, status, reloading, *rest = manager.heard()
    assert (ready, status) == (b"READY=1", b"STATUS=3 workers run")
    match = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=(\d+)", reloading)
    assert match
    assert before <= int(match[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    assert rest == [b"WATCHDOG=1", b"EXTEND_TIMEOUT_USEC=2500000", b"STOPPING=1"]
    assert notifier.problem is None


def test_a_status_is_one_ascii_line_whatever_it_holds(manager: Manager, notifier: Notifier) -> None:
    notifier.status("hot: 91 °C → throttled 模\nREADY=1\0\rSTOPPING=1 \udcff\x1b[31m")
    (message,) = manager.heard()
    assert message == b"STATUS=hot: 91 \\xb0C \\u2192 throttled \\u6a21 READY=1 STOPPING=1 [31m"
    notifier.status("x" * 100_000)
    (message,) = manager.heard()
    assert len(message) < 1100


def test_without_a_manager_nothing_happens() -> None:
    notifier = Notifier.from_environment({})
    assert not notifier.supervised
    notifier.ready()
    notifier.status("x")
    notifier.watchdog()
    notifier.stopping()
    assert notifier.watchdog_interval is None
    assert notifier.problem is None
    notifier.close()


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        ("30000000", "", 30.0),
        pytest.param("30000000", str(os.getpid()), 30.0, id="this process"),
        ("30000000", "1", None),
        ("500000", "", 0.5),
        ("0", "", None),
        ("", "", None),
        ("-5", "", None),
        ("soon", "", None),
        ("²", "", None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(usec: str, pid: str, interval: float | None) -> None:
    environ = {"NOTIFY_SOCKET": "@aiidpd-test-none", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    notifier = Notifier.from_environment(environ)
    assert notifier.watchdog_interval == interval


def test_without_a_watchdog_none_is_sent(manager: Manager) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.address})
    notifier.watchdog()
    notifier.close()
    assert manager.heard() == []


def test_a_full_socket_holds_nothing_up_and_state_is_sent_later(manager: Manager, notifier: Notifier) -> None:
    began = time.monotonic()
    for _ in range(5_000):  # far more than the kernel queues
        notifier.watchdog()
    notifier.ready()
    notifier.status("old")
    notifier.status("new")
    notifier.stopping()
    assert time.monotonic() - began < PATIENCE
    assert (
        notifier.problem == f"cannot notify {manager.address}: the service manager does not read its socket"
    )
    assert set(manager.heard()) == {b"WATCHDOG=1"}
    notifier.watchdog()
    assert manager.heard() == [b"READY=1", b"STATUS=new", b"STOPPING=1", b"WATCHDOG=1"]
    assert notifier.problem is None


def test_what_is_owed_ends_with_what_was_said_last(manager: Manager, notifier: Notifier) -> None:
    for _ in range(5_000):
        notifier.watchdog()
    notifier.reloading()
    notifier.ready()
    notifier.reloading()
    manager.heard()
    notifier.watchdog()
    assert [message.partition(b"=")[0] for message in manager.heard()] == [
        b"READY",
        b"RELOADING",
        b"WATCHDOG",
    ]


def test_a_manager_that_comes_back_is_found(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    notifier = Notifier(address)
    notifier.ready()
    assert notifier.problem == f"cannot notify {address}: No such file or directory"
    first = Manager(address)
    notifier.status("one")
    assert first.heard() == [b"READY=1", b"STATUS=one"]
    first.close()
    Path(address).unlink()
    notifier.status("two")
    assert notifier.problem
    second = Manager(address)
    notifier.watchdog()  # sends what is owed, although no watchdog is set
    assert second.heard() == [b"STATUS=two"]
    second.close()
    notifier.close()


def sockets(path: str) -> set[str]:
    """Return the sockets that a process has open, each by the kernel's name for it."""
    links = (str(file.readlink()) for file in Path(path).iterdir() if file.is_symlink())
    return {link for link in links if link.startswith("socket:")}


def test_a_child_does_not_inherit_the_socket(manager: Manager) -> None:
    before = sockets("/proc/self/fd")
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.address})
    notifier.ready()
    (ours,) = sockets("/proc/self/fd") - before
    program = "import os; print(*(os.readlink(f'/proc/self/fd/{n}') for n in range(3, 99)"
    program += " if os.path.lexists(f'/proc/self/fd/{n}')))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, close_fds=False
    )
    assert ours not in done.stdout
    notifier.close()
