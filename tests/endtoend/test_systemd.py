"""The unit under a real systemd: what it promises to whoever runs it as a service.

Each test waits in real time for a real service manager, a few seconds at most; the machine takes longer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.endtoend.containers import ROOT, Machine
from tests.waiting import Stopwatch

pytestmark = [pytest.mark.real("systemd"), pytest.mark.long, pytest.mark.timeout(1200)]

DAEMON = "/opt/aiidpd/bin/aiidpd"
CTL = "/opt/aiidpd/bin/aiidpctl"
CONFIG = "/etc/aiidpd/aiidpd.toml"
DROP_INS = "/etc/systemd/system/aiidpd.service.d"
GOOD = """\
[gpu]
library = "simulated"
simulated_gpus = 1

[containers]
engine = "simulated"

[backup]
source = "/srv/models"
target = "/var/lib/aiidpd/backup"

[[bench.endpoints]]
name = "simulated"
kind = "simulated"
"""

LOCAL = """
[[bench.endpoints]]
name = "local"
url = "http://127.0.0.1:9998"
model = "m"
"""
KEY_SERVER = """\
import http.server

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen.write(str(self.headers["Authorization"]) + "\\n")
        self.send_error(404)

    do_POST = do_GET

seen = open("/tmp/seen", "w", 1)
http.server.HTTPServer(("127.0.0.1", 9998), Answer).serve_forever()
"""


class Service:
    """aiidpd.service on a booted machine, from a given moment of the journal on."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        cursor = machine.shell("journalctl -n 0 --show-cursor -o cat")
        self._cursor = cursor.removeprefix("-- cursor: ")

    def configure(self, text: str) -> None:
        self.machine.write(CONFIG, text)
        self.machine.shell(f"chown root:aiidpd {CONFIG} && chmod 640 {CONFIG}")

    def drop_in(self, text: str) -> None:
        self.machine.write(f"{DROP_INS}/test.conf", f"[Service]\n{text}\n")
        self.machine.shell("systemctl daemon-reload")

    def show(self, name: str) -> str:
        return self.machine.shell(f"systemctl show aiidpd -P {name}")

    def journal(self) -> str:
        return self.machine.shell(f"journalctl -o cat --after-cursor='{self._cursor}' -u aiidpd")

    def said(self, words: str) -> None:
        """Wait until the journal has ``words``: it takes its time."""
        self.machine.until(lambda: words in self.journal(), f"{words!r} in the journal")

    def ctl(self, *arguments: str, user: str = "", code: int = 0) -> str:
        done = self.machine.run(CTL, *arguments, user=user, check=False)
        assert done.returncode == code, (
            f"{arguments} ended with {done.returncode}: {done.stderr}{done.stdout}"
        )
        return done.stdout if code == 0 else done.stderr

    def gpus(self) -> list[Any]:
        found = json.loads(self.ctl("--json", "gpu"))
        return list(found["gpus"])

    def start(self) -> None:
        done = self.machine.run("systemctl", "start", "aiidpd", check=False)
        assert done.returncode == 0, self.journal()

    def running(self) -> bool:
        return self.show("ActiveState") == "active"

    def processes(self) -> str:
        return self.machine.shell(
            'for p in /proc/[0-9]*; do [ "$(stat -c %U "$p" 2>/dev/null)" != aiidpd ] || echo "$p"; done'
        )


@pytest.fixture
def service(booted: Machine) -> Iterator[Service]:
    """Yield a service that is configured well and not running."""
    found = Service(booted)
    found.configure(GOOD)
    booted.shell("mkdir -p /srv/models && printf weights >/srv/models/model.bin")
    booted.shell("install -d -o aiidpd -g aiidpd -m 750 /var/lib/aiidpd/backup")
    yield found
    booted.shell(f"systemctl stop aiidpd; systemctl reset-failed aiidpd || true; rm -rf {DROP_INS}")
    booted.shell("systemctl daemon-reload; rm -rf /var/lib/aiidpd/*")


def test_the_unit_is_clean_and_confined(booted: Machine) -> None:
    verdict = booted.run("systemd-analyze", "verify", "/usr/lib/systemd/system/aiidpd.service")
    assert (verdict.stdout + verdict.stderr).strip() == ""
    # What keeps it from less stands in docs/security.md.
    booted.run("systemd-analyze", "security", "--threshold=19", "aiidpd.service")


def test_a_key_comes_as_a_credential_of_the_unit_and_is_shown_nowhere(service: Service) -> None:
    key = "3b1f0c5e7d9a" * 4
    # systemd hands credentials over by a mount, and leaves it to the container's maker that mounts spread.
    service.machine.shell("mount --make-rshared /")
    service.machine.write("/srv/server.py", KEY_SERVER)
    service.machine.shell("systemd-run --quiet --unit=key-server python3 /srv/server.py")
    service.machine.write("/etc/aiidpd/local.key", f"{key}\n")
    service.machine.shell("chown root:root /etc/aiidpd/local.key && chmod 600 /etc/aiidpd/local.key")
    service.configure(GOOD + LOCAL)
    service.drop_in("LoadCredential=aiidpd.bench.endpoints.local.api_key:/etc/aiidpd/local.key")
    service.start()
    words = "cat /tmp/seen"
    service.machine.until(lambda: f"Bearer {key}" in service.machine.shell(words), "the key at the server")
    shown = service.ctl("--json", "config", "show", "--origin")
    found = {each["key"]: each for each in json.loads(shown)["entries"]}
    assert "credential" in found["bench.endpoints[1].api_key"]["origin"]
    assert key not in shown + service.journal() + service.ctl("--json", "status") + service.ctl("events")
    service.machine.shell(f"! tr '\\0' '\\n' </proc/{service.show('MainPID')}/environ | grep -q {key}")
    service.machine.shell("systemctl stop key-server; rm /etc/aiidpd/local.key")


def test_the_user_s_unit_shows_an_event_under_its_sandbox(service: Service) -> None:
    """As a service of the system: the machine has no session that a user's own manager comes from."""
    unit = ROOT / "packaging/systemd/user/aiidpd-notify.service"
    on = service.machine
    on.write("/etc/systemd/system/aiidpd-notify.service", unit.read_text())
    on.write("/srv/show", '#!/bin/sh\necho "$@" >>/srv/shown\n')
    on.write(
        "/etc/systemd/system/aiidpd-notify.service.d/test.conf",
        f"[Service]\nUser=member\nExecStart=\nExecStart={CTL} notify --severity info --command /srv/show\n",
    )
    on.shell("chmod 755 /srv/show && install -o member -m 644 /dev/null /srv/shown")
    on.shell("systemctl daemon-reload")
    service.start()
    on.shell("systemctl start aiidpd-notify")
    on.run("systemd-analyze", "security", "--threshold=60", "aiidpd-notify.service")
    service.ctl("reload")
    on.until(lambda: "reloaded" in on.shell("cat /srv/shown; true"), "a notification")
    on.shell("systemctl stop aiidpd-notify && rm -r /etc/systemd/system/aiidpd-notify.service*")


def test_it_is_active_only_once_it_is_ready(service: Service) -> None:
    # A start that takes as long as we like.
    service.drop_in(f"""ExecStart=
ExecStart=/bin/sh -c 'until [ -e /run/aiidpd/go ]; do sleep 0.1; done; exec {DAEMON} run --config {CONFIG}'
""")
    states = service.machine.shell("""
        systemctl start --no-block aiidpd
        sleep 1.5
        systemctl show aiidpd -P ActiveState
        touch /run/aiidpd/go
    """)
    assert states == "activating"
    service.machine.until(service.running, "active")
    assert "SIMULATED" in service.ctl("status")  # ready means that it answers at once
    service.machine.until(lambda: "SIMULATED" in service.show("StatusText"), "the status")


def test_a_wedged_loop_is_aborted_and_comes_back(service: Service) -> None:
    service.drop_in("WatchdogSec=5s\nRestartSec=200ms")
    service.start()
    wedged = service.show("MainPID")
    service.machine.shell(f"kill -STOP {wedged}")
    service.machine.until(lambda: int(service.show("NRestarts")) > 0, "a restart by the watchdog")
    service.machine.until(service.running, "active again")
    assert service.show("MainPID") != wedged
    service.said("Watchdog timeout")
    service.said("most recent call first")  # where it hung: PYTHONFAULTHANDLER
    service.ctl("status")


def test_a_killed_daemon_comes_back(service: Service) -> None:
    service.drop_in("RestartSec=200ms")
    service.start()
    killed = service.show("MainPID")
    service.machine.shell(f"kill -KILL {killed}")
    service.machine.until(lambda: int(service.show("NRestarts")) > 0, "a restart")
    service.machine.until(service.running, "active again")
    service.ctl("status")


def test_a_restart_keeps_the_folder_that_containers_have_mounted(service: Service) -> None:
    service.drop_in("RestartSec=200ms")
    service.start()
    folder = service.machine.shell("stat -c %i /run/aiidpd")
    service.machine.shell("systemctl restart aiidpd")
    assert service.machine.shell("stat -c %i /run/aiidpd") == folder
    service.machine.shell(f"kill -KILL {service.show('MainPID')}")
    service.machine.until(lambda: int(service.show("NRestarts")) > 0, "a restart")
    service.machine.until(service.running, "active again")
    assert service.machine.shell("stat -c %i /run/aiidpd") == folder
    service.ctl("status")


@pytest.mark.parametrize("how", ["systemctl reload aiidpd", "systemctl kill --kill-whom=main -s HUP aiidpd"])
def test_a_good_configuration_is_taken_over(service: Service, how: str) -> None:
    service.start()
    before = service.show("MainPID")
    assert len(service.gpus()) == 1
    service.configure(GOOD.replace("simulated_gpus = 1", "simulated_gpus = 2"))
    service.machine.shell(how)
    service.machine.until(lambda: len(service.gpus()) == 2, "the new configuration")
    assert service.show("MainPID") == before


@pytest.mark.parametrize("how", ["systemctl reload aiidpd", "systemctl kill --kill-whom=main -s HUP aiidpd"])
def test_a_bad_configuration_changes_nothing_and_says_why(service: Service, how: str) -> None:
    service.start()
    before = service.show("MainPID")
    # The first change is sound, but all or nothing is taken.
    service.configure(GOOD.replace("simulated_gpus = 1", "simulated_gpus = 2\nwarning_celsius = 'hot'"))
    done = service.machine.run("sh", "-c", how, check=False)
    assert (done.returncode == 0) is ("HUP" in how)
    service.said("gpu.warning_celsius")
    service.said("aiidpd.toml")
    assert len(service.gpus()) == 1
    assert service.running()
    assert service.show("MainPID") == before
    assert "gpu.warning_celsius" in service.ctl("status") + service.ctl("events")


def test_it_stops_soon_and_leaves_nothing_behind(service: Service) -> None:
    service.start()
    assert service.processes() != ""
    stopwatch = Stopwatch()
    took = service.machine.shell("""
        start=$(date +%s%N)
        systemctl stop aiidpd
        echo $((($(date +%s%N) - start) / 1000000))
    """)
    assert stopwatch.within(5.0, int(took) / 1000)
    assert service.show("Result") == "success"
    assert service.show("ExecMainStatus") == "0"
    assert service.processes() == ""
    assert service.machine.run("test", "-e", "/run/aiidpd", check=False).returncode == 1


def test_a_wrong_configuration_ends_the_start_for_good(service: Service) -> None:
    service.drop_in("RestartSec=200ms")
    service.configure('[gpu]\nlibary = "nvml"\n')
    assert service.machine.run("systemctl", "start", "aiidpd", check=False).returncode != 0
    service.machine.shell("sleep 1.5")  # time for several restarts, if there were any
    assert service.show("ActiveState") == "failed"
    assert service.show("ExecMainStatus") == "2"
    assert service.show("NRestarts") == "0"
    service.said(CONFIG)
    service.said("libary")


def test_a_start_with_a_wrong_configuration_still_puts_back_what_stands(service: Service) -> None:
    lease = "/var/lib/aiidpd/governor.lease.json"
    left = {"version": 1, "boot_id": "another", "pid": 1, "written_at": 0, "gpus": {}}
    service.machine.shell("install -d -o aiidpd -g aiidpd -m 750 /var/lib/aiidpd")
    service.machine.write(lease, json.dumps(left))
    service.machine.shell(f"chown aiidpd:aiidpd {lease}")
    service.configure('[gpu]\nlibary = "nvml"\n')
    assert service.machine.run("systemctl", "start", "aiidpd", check=False).returncode != 0
    service.said("the machine was booted since")
    service.machine.shell(f"test ! -e {lease}")
    assert service.show("ExecMainStatus") == "2"


def test_root_and_members_may_look_and_strangers_may_not(service: Service) -> None:
    service.start()
    service.ctl("status")
    service.ctl("status", user="member")
    assert "cannot" in service.ctl("status", user="stranger", code=4)


def test_members_may_not_change_anything(service: Service) -> None:
    service.start()
    service.ctl("reload", user="member", code=4)
    service.ctl("reload", user="aiidpd")
    service.ctl("reload")


def test_the_sandbox_lets_it_work_and_what_it_writes_is_its_own(service: Service) -> None:
    service.start()
    service.ctl("backup", "run")
    service.ctl("bench", "run")
    copies = "find /var/lib/aiidpd/backup -name model.bin -exec cat {} ';' -quit"
    assert service.machine.shell(copies) == "weights"
    found = service.machine.shell("stat -c '%U:%G %a' /run/aiidpd /run/aiidpd/control.sock /var/lib/aiidpd")
    assert found.splitlines() == ["aiidpd:aiidpd 755", "aiidpd:aiidpd 660", "aiidpd:aiidpd 750"]


def test_after_each_end_the_unit_looks_for_what_a_governor_left(service: Service) -> None:
    service.start()
    lease = "/var/lib/aiidpd/governor.lease.json"
    left = {"version": 1, "boot_id": "an earlier one", "pid": 1, "written_at": 1.0, "gpus": {}}
    service.machine.write(lease, json.dumps(left))
    service.machine.shell(f"chown aiidpd: {lease}; systemctl stop aiidpd")

    service.said("the driver has forgotten what was set")
    service.machine.shell(f"[ ! -e {lease} ]")
    assert service.show("Result") == "success"


def test_gpus_that_could_not_be_restored_make_the_unit_a_failed_one(service: Service) -> None:
    service.start()
    lease = "/var/lib/aiidpd/governor.lease.json"
    service.machine.write(lease, "{")
    service.machine.shell(f"chown aiidpd: {lease}; systemctl stop aiidpd")

    assert service.show("ActiveState") == "failed"
    service.said("restore-gpus --to-default")
    service.machine.shell(f"rm {lease}")


def test_the_governors_drop_in_gives_the_one_capability_and_nothing_else(service: Service) -> None:
    drop_in = ROOT / "packaging" / "systemd" / "aiidpd.service.d" / "governor.conf"
    service.machine.write(f"{DROP_INS}/governor.conf", drop_in.read_text())
    service.machine.shell("systemctl daemon-reload")
    service.start()
    status = service.machine.shell(f"cat /proc/{service.show('MainPID')}/status")

    held = {line.split()[0]: line.split()[1] for line in status.splitlines() if line.startswith("Cap")}
    assert {int(held[name], 16) for name in ("CapEff:", "CapAmb:", "CapBnd:")} == {1 << 21}
