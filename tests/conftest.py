"""Fixtures for every test."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fakes.clock import FakeClock
from tests.fakes.docker_engine import RealDocker, real_docker
from tests.fakes.llama import HOW_TO_GET, find_server
from tests.fakes.llama_container import LlamaContainers
from tests.forms import REQUIRE_REAL, profile

pytest_plugins = ["tests.fakes.control_fixtures", "tests.fakes.nvml.fixtures"]

settings.register_profile("aiidpd", profile())
settings.load_profile("aiidpd")

# CI measures what the tests run in these processes, and not in those that they start, with other rights some
# of them, in other folders, and killed.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_START", None)

# Who starts the tests in the background has them ignore Ctrl-C, and a process hands that on to those it
# starts. Ours are to be interrupted.
for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler if ignored is signal.SIGINT else signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.umask(0o022)  # some tests let another user read what they write


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def missing() -> Callable[[str, str], None]:
    """Return what a fixture calls when its real part is not there: a skip, or a failure where CI asks."""

    def report(part: str, how: str) -> None:
        message = f"no {part} here: {how}"
        if REQUIRE_REAL:
            pytest.fail(f"{message} (AIIDPD_REQUIRE_REAL=1)")
        pytest.skip(message)

    return report


@pytest.fixture(scope="module")
def docker(missing: Callable[[str, str], None]) -> Iterator[RealDocker]:
    with real_docker(missing) as found:
        yield found


@pytest.fixture(scope="module")
def only_healer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no other test heal meanwhile: on one engine two healers would both restart what is labelled."""
    with (tmp_path_factory.getbasetemp().parent / "healer.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def llama_containers(
    docker: RealDocker, tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], None]
) -> LlamaContainers:
    server = find_server()
    if server is None:
        missing("llama-server", HOW_TO_GET)
    return LlamaContainers(docker, tmp_path_factory.mktemp("models"), Path(str(server)))
