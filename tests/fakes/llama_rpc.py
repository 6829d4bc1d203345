"""llama.cpp's own RPC server, which computes layers for a llama-server over TCP: a real hop, on loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.llama import find_server
from tests.ports import free_port
from tests.waiting import PATIENCE

HOW_TO_GET = "run .ci/llama, which builds ggml-rpc-server beside llama-server (GGML_RPC=ON)"


def find_rpc_server() -> Path | None:
    """Return the program, which stands beside llama-server, None where it does not."""
    server = find_server()
    program = server.with_name("ggml-rpc-server") if server else None
    return program if program and program.exists() else None


@dataclass
class RpcServer:
    """One that runs. It serves one client at a time."""

    port: int
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait(PATIENCE)


@contextlib.contextmanager
def rpc_server() -> Iterator[RpcServer]:
    """Run one with a thread; :func:`find_rpc_server` must find it."""
    program = find_rpc_server()
    if program is None:
        raise LookupError(HOW_TO_GET)
    port = free_port()
    command = [program, "--host", "127.0.0.1", "--port", str(port), "--threads", "1"]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(program.parent)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        server = RpcServer(port, process)
        try:
            _wait_for(server)
            yield server
        finally:
            server.kill()


def _wait_for(server: RpcServer) -> None:
    deadline = time.monotonic() + PATIENCE
    while server.process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
            return
        time.sleep(0.02)
    raise RuntimeError("ggml-rpc-server did not come up")
