"""The gate under a real systemd, sandboxed, and the daemon that reaches Docker through it alone."""

from __future__ import annotations

import json

import pytest

from tests.endtoend.containers import ROOT, Machine

pytestmark = [pytest.mark.real("systemd"), pytest.mark.long, pytest.mark.timeout(1200)]

DROP_IN = "/etc/systemd/system/aiidpd.service.d/gate.conf"
SOCKET = "/run/aiidpd-gate/docker.sock"
ENGINE = r"""
import http.server, json, os, re, shutil, socketserver, time

PAGES = {
    "/version": {"Version": "20.10", "ApiVersion": "1.41"},
    "/info": {"ServerVersion": "20.10"},
    "/containers/json": [],
}


class Engine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def do_GET(self):
        path = re.sub(r"^/v1\.\d+", "", self.path.partition("?")[0])
        if path == "/events":
            self.send_response(200)
            self.end_headers()
            time.sleep(0 if "until=" in self.path else 3600)
            self.close_connection = True
            return
        body = json.dumps(PAGES.get(path, {"message": "page not found"})).encode()
        self.send_response(200 if path in PAGES else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


os.umask(0o117)
server = Server("/run/docker.sock", Engine)
shutil.chown("/run/docker.sock", "root", "docker")
server.serve_forever()
"""
CLIENT = r"""
import socket, sys

client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(f"{sys.argv[2]} {sys.argv[3]} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n".encode())
data = b""
while piece := client.recv(65536):
    data += piece
print(data.split()[1].decode())
"""
CONFIG = """\
[gpu]
library = "off"

[containers]
engine = "docker"
"""


def ask(on: Machine, user: str, target: str, method: str = "GET", path: str = SOCKET) -> str:
    """Return the status of the answer, or the last line of what went wrong."""
    done = on.run("python3", "/srv/client.py", path, method, target, user=user, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[-1]


@pytest.fixture(scope="module")
def gated(booted: Machine) -> Machine:
    """Install the gate before a scripted engine, as docs/operations.md says."""
    booted.write("/srv/engine.py", ENGINE)
    booted.write("/srv/client.py", CLIENT)
    booted.copy(ROOT / "etc", "/srv")
    booted.shell("systemd-run --unit=engine python3 /srv/engine.py")
    booted.until(lambda: booted.run("test", "-S", "/run/docker.sock", check=False).returncode == 0, "engine")
    booted.shell(f"""
        cd /srv/packaging
        install -m 644 systemd/aiidpd-gate.service systemd/aiidpd-gate.socket /usr/lib/systemd/system/
        install -m 644 sysusers.d/aiidpd-gate.conf /usr/lib/sysusers.d/
        install -D -m 644 systemd/aiidpd.service.d/gate.conf {DROP_IN}
        systemd-sysusers
        install -m 640 -o root -g aiidpd /srv/etc/gate.toml /etc/aiidpd/
        systemctl daemon-reload
        systemctl enable --now aiidpd-gate.socket
    """)
    return booted


def test_the_daemon_s_user_reads_and_creates_nothing(gated: Machine) -> None:
    assert ask(gated, "aiidpd", "/info") == "200"
    assert ask(gated, "aiidpd", "/containers/create", "POST") == "403"
    assert gated.shell("systemctl show aiidpd-gate -P ActiveState -P User") == "aiidpd-gate\nactive"
    assert "denied POST /containers/create" in gated.shell("journalctl -u aiidpd-gate -o cat")


def test_whom_nothing_names_gets_nothing(gated: Machine) -> None:
    assert ask(gated, "member", "/info") == "403"
    assert "PermissionError" in ask(gated, "stranger", "/info")
    assert "PermissionError" in ask(gated, "aiidpd", "/info", path="/run/docker.sock")


def test_a_gate_that_is_killed_serves_the_next_call(gated: Machine) -> None:
    assert ask(gated, "aiidpd", "/info") == "200"
    gated.shell("systemctl kill --signal=KILL aiidpd-gate")
    gated.until(lambda: ask(gated, "aiidpd", "/info") == "200", "next call")


def test_the_daemon_reaches_docker_through_the_gate_alone(gated: Machine) -> None:
    gated.write("/etc/aiidpd/aiidpd.toml", CONFIG)
    gated.shell("chown root:aiidpd /etc/aiidpd/aiidpd.toml && chmod 640 /etc/aiidpd/aiidpd.toml")
    gated.shell("systemctl restart aiidpd")
    try:

        def state() -> str:
            status = json.loads(gated.run("/opt/aiidpd/bin/aiidpctl", "--json", "status", check=False).stdout)
            return next(str(each["state"]) for each in status["workers"] if each["name"] == "containers")

        gated.until(lambda: state() == "running", "containers")
        groups = gated.shell("grep ^Groups: /proc/$(systemctl show aiidpd -P MainPID)/status").split()[1:]
        assert gated.shell("getent group docker").split(":")[2] not in groups
    finally:
        gated.shell(f"systemctl stop aiidpd; rm {DROP_IN}; systemctl daemon-reload")
        gated.shell("systemctl stop engine aiidpd-gate.socket aiidpd-gate; rm -f /run/docker.sock")
