"""Latency that the gate adds to calls of the Docker Engine, and its memory. Needs a Docker Engine."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.harness import percentile, pss_bytes, report

ENGINE = Path("/run/docker.sock")
CALLS = 2000
WARM_UP = 100
TARGETS = {"ping": b"/_ping", "info": b"/info", "list": b"/containers/json?all=1"}
STREAMS = 4
CONNECTIONS = 16
LIMIT_MS = 1.0
LIMIT_MIB = 16.0
_MIB = 2.0**20


class Client:
    """One connection that stays open."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))

    def call(self, target: bytes) -> float:
        """Make a call and read its whole answer; return how many milliseconds that took."""
        before = time.perf_counter()
        self._socket.sendall(b"GET %b HTTP/1.1\r\nHost: d\r\n\r\n" % target)
        data = b""
        while not _is_whole(data):
            data += self._socket.recv(1 << 20)
        return (time.perf_counter() - before) * 1000

    def post(self, target: str) -> bytes:
        """Make a call that changes something; return the beginning of its answer."""
        self._socket.sendall(f"POST {target} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        return self._socket.recv(65536)

    def follow(self) -> None:
        """Begin a stream of events."""
        self._socket.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
        self._socket.recv(65536)


def _is_whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return body.endswith(b"0\r\n\r\n")


@contextmanager
def gate(folder: Path) -> Iterator[tuple[int, Path]]:
    """Run a gate before the engine; yield its process and its socket."""
    path, config = folder / "gate.sock", folder / "gate.toml"
    config.write_text(f'engine = "{ENGINE}"\n')
    config.chmod(0o644)
    command = [sys.executable, "-m", "aiidpd.gate", "--config", str(config), "--listen", str(path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while not path.exists():
                time.sleep(0.01)
            yield process.pid, path
        finally:
            process.kill()


@contextmanager
def container() -> Iterator[tuple[str, str]]:
    """Create a container that may be upgraded; yield its name and another image of its repository."""
    name = f"aiidpd-bench-{secrets.token_hex(4)}"
    images = [f"{name}:{tag}" for tag in ("one", "two")]
    empty = b"\0" * 10240  # an archive without files
    try:
        for image in images:
            command = ["docker", "import", "-c", f"LABEL version={image}", "-", image]
            subprocess.run(command, input=empty, check=True, capture_output=True)
        command = ["docker", "create", "--name", name, "--label", "aiidpd.upgrade=allow", images[0], "/none"]
        subprocess.run(command, check=True, capture_output=True)
        yield name, images[1]
    finally:
        for command in (["rm", "-f", name, f"{name}-aiidpd-new-0123abcd"], ["rmi", "-f", *images]):
            subprocess.run(["docker", *command], check=False, capture_output=True)


def resident_bytes(pid: int) -> int:
    """Return the resident set of process ``pid``, pages that it shares included."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def main() -> None:
    """Make the same calls in turn, directly and through the gate."""
    if not ENGINE.is_socket():
        sys.exit(f"bench.gate: no Docker Engine at {ENGINE}")
    figures: dict[str, tuple[float, float | None]] = {}
    with tempfile.TemporaryDirectory(prefix="aiidpd-bench-") as name, gate(Path(name)) as (pid, path):
        for label, target in TARGETS.items():
            direct, through = Client(ENGINE), Client(path)
            taken: tuple[list[float], list[float]] = ([], [])
            for each in range(WARM_UP + CALLS):
                pair = direct.call(target), through.call(target)
                if each >= WARM_UP:
                    taken[0].append(pair[0])
                    taken[1].append(pair[1])
            for share in (0.5, 0.99):
                key = f"{label}_p{share * 100:.0f}"
                figures[f"{key}_direct"] = (percentile(taken[0], share), None)
                figures[f"{key}_added"] = (
                    percentile(taken[1], share) - percentile(taken[0], share),
                    LIMIT_MS,
                )
        report("gate", "ms", figures)
        streams = [Client(path) for _ in range(STREAMS)]
        others = [Client(path) for _ in range(CONNECTIONS)]
        for stream in streams:
            stream.follow()
        for other in others:
            other.call(TARGETS["info"])
        memory = {
            "resident": (resident_bytes(pid) / _MIB, LIMIT_MIB),
            "proportional": (pss_bytes(pid) / _MIB, None),
        }
        with container() as (tried, image):
            answer = others[0].post(f"/aiidpd/images/{tried}?name={tried}-aiidpd-new-0123abcd&image={image}")
            if b" 201 " not in answer:
                sys.exit(f"bench.gate: {answer.decode()}")
        memory["resident_after_a_trial"] = (resident_bytes(pid) / _MIB, LIMIT_MIB)
    report("gate", "MiB", memory)


if __name__ == "__main__":
    main()
