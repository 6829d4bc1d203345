"""The Debian package on a booted machine: installed, upgraded, removed, purged, as docs/operations.md says.

One machine goes through all of it, in the order of the tests.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.endtoend import packages
from tests.endtoend.conftest import boot, debian_root
from tests.endtoend.containers import ROOT, Machine, image, machine
from tests.endtoend.test_gate import CLIENT, ask

pytestmark = [pytest.mark.real("systemd"), pytest.mark.long, pytest.mark.timeout(1200)]

PAGE = (ROOT / "docs/operations.md").read_text()
CONFIG, GATE = "/etc/aiidpd/aiidpd.toml", "/etc/aiidpd/gate.toml"
EARLIER_DEFAULT = "# An earlier default."
MARK = "# A remark of whoever runs this machine."
UNITS = ("aiidpd.service", "aiidpd-gate.socket", "aiidpd-gate.service")
ENGINE_SOCKET = os.environ.get("DOCKER_HOST", "unix:///run/docker.sock").removeprefix("unix://")
NEVER_COMPARED = (
    "/var/log",
    "/var/cache",
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/lib/systemd/timers",
    "/srv",
)
# Lends the machine the engine that it runs on, with the owner and mode that Docker gives its socket.
LENDING = r"""
import os, shutil, socket, threading


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


os.umask(0o117)
listener = socket.socket(socket.AF_UNIX)
listener.bind("/run/docker.sock")
shutil.chown("/run/docker.sock", "root", "docker")
listener.listen(64)
while True:
    client = listener.accept()[0]
    engine = socket.socket(socket.AF_UNIX)
    engine.connect("/srv/engine/docker.sock")
    for one, other in ((client, engine), (engine, client)):
        threading.Thread(target=pump, args=(one, other), daemon=True).start()
"""


def commands(heading: str, number: int = 0) -> list[str]:
    """Return the commands of a block below a heading of the page, without their remarks."""
    section = PAGE.partition(f"# {heading}\n")[2].partition("\n#")[0]
    block = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[number]
    return [line.partition("  #")[0].strip() for line in block.splitlines() if line.strip()]


def listing(on: Machine) -> set[str]:
    """Return every file of the machine, but those that any work leaves behind."""
    pruned = " -o ".join(f"-path {each}" for each in NEVER_COMPARED)
    return set(on.shell(rf"find / -xdev \( {pruned} \) -prune -o -print").splitlines())


def accounts(on: Machine) -> set[str]:
    return set(on.shell("cat /etc/passwd /etc/group /etc/shadow /etc/gshadow").splitlines())


class Packaged:
    """A machine, the two packages on it, and how it was before them."""

    def __init__(self, on: Machine) -> None:
        self.machine = on
        self.files, self.accounts = listing(on), accounts(on)

    def apt(self, *words: str, code: int = 0) -> str:
        done = self.machine.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", *words, check=False)
        assert done.returncode == code, done.stderr + done.stdout
        return done.stderr + done.stdout

    def install(self, folder: str) -> None:
        """Install the package in ``folder``, by the command of the page."""
        [command] = [each for each in commands("Install as a service") if each.startswith("apt ")]
        self.machine.shell(f"cd /srv/{folder} && DEBIAN_FRONTEND=noninteractive {command}")

    def show(self, name: str, unit: str = "aiidpd") -> str:
        return self.machine.shell(f"systemctl show {unit} -P {name}")

    def journal(self, *more: str) -> str:
        words = ["journalctl", "--quiet", "-o", "cat", *(f"--unit={unit}" for unit in UNITS), *more]
        return self.machine.run(*words).stdout.strip()

    def ctl(self, *arguments: str) -> Any:
        return json.loads(self.machine.run("aiidpctl", "--json", *arguments, check=False).stdout)

    def state(self, worker: str) -> str:
        return next(str(each["state"]) for each in self.ctl("status")["workers"] if each["name"] == worker)

    def groups(self) -> set[str]:
        numbers = self.machine.shell(f"grep ^Groups: /proc/{self.show('MainPID')}/status").split()[1:]
        return {self.machine.shell(f"getent group {number}").partition(":")[0] for number in numbers}

    def doctor(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for each in json.loads(self.machine.run("aiidpd", "doctor", "--json").stdout)["checks"]:
            found.setdefault(each["name"], []).append(each["outcome"])
        return found


@pytest.fixture(scope="module")
def earlier(
    wheels: Path, tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], None]
) -> Path:
    """Return a package of this tree that says it is an earlier version, with another configuration."""
    folder = tmp_path_factory.mktemp("earlier")
    found = packages.built(packages.tools(missing), wheels, folder, packages.EARLIER)
    packages.changed(found, CONFIG, f"{EARLIER_DEFAULT}\n")
    return found


@pytest.fixture(scope="module")
def root(engine: None, missing: Callable[[str, str], None]) -> Iterator[str]:  # noqa: ARG001 -- it must be there
    with image("aiidpd-test-package", debian_root("systemd", missing)) as found:
        yield found


@pytest.fixture(scope="module")
def on(root: str, package: Path, earlier: Path) -> Iterator[Packaged]:
    """Boot a machine on which the earlier package was just installed, by the command of the page."""
    # With NET_ADMIN systemd can bring up the loopback of the gate's own network, as on a real machine.
    options = [f"--volume={ENGINE_SOCKET}:/srv/engine/docker.sock", "--cap-add=NET_ADMIN"]
    with boot("aiidpd-test-package", root, *options) as booted:
        booted.shell("mkdir /srv/earlier /srv/now; useradd alice")
        booted.copy(earlier, "/srv/earlier")
        booted.copy(package, "/srv/now")
        found = Packaged(booted)
        found.install("earlier")
        yield found


def test_one_command_is_the_whole_installation(on: Packaged) -> None:
    for unit in UNITS[:2]:
        assert (
            on.machine.shell(f"systemctl is-enabled {unit}; systemctl is-active {unit}") == "enabled\nactive"
        )
    assert on.show("StatusText") != ""  # READY came with it
    for command in commands("Install as a service"):
        if not command.startswith("apt "):
            on.machine.shell(command)  # the doctor's exit code is 0, and so is that of the status
    found = on.machine.shell(f"stat -c '%U:%G %a' /etc/aiidpd {CONFIG} {GATE} /etc/aiidpd/conf.d")
    assert found.splitlines() == ["root:aiidpd 750", *["root:aiidpd 640"] * 2, "root:aiidpd 750"]
    assert on.machine.shell("dpkg --verify aiidpd") == ""


def test_without_docker_and_gpu_nothing_is_wrong(on: Packaged) -> None:
    on.machine.until(lambda: on.state("containers") == "inactive", "containers")
    assert on.state("thermal") == "inactive"
    assert on.groups() == {"aiidpd", "video", "aiidpd-metrics"}
    found = on.doctor()
    assert "failed" not in [outcome for outcomes in found.values() for outcome in outcomes]
    assert found["docker"] == ["ok"]


def test_a_start_and_a_stop_leave_nothing_above_info_in_the_journal(on: Packaged) -> None:
    on.machine.shell("systemctl restart aiidpd-gate.socket aiidpd")
    on.machine.until(lambda: on.state("containers") == "inactive", "containers")
    on.machine.shell("systemctl stop aiidpd aiidpd-gate.socket aiidpd-gate; systemctl start aiidpd")
    assert on.journal("--priority=notice") == ""
    assert "there is no engine at /run/docker.sock" in on.journal()


def test_a_good_configuration_is_taken_over_and_a_bad_one_refused(on: Packaged) -> None:
    before = on.show("MainPID")
    more = "/etc/aiidpd/conf.d/test.toml"
    on.machine.write(more, '[gpu]\nlibrary = "simulated"\n')
    on.machine.shell(f"chmod 644 {more} && systemctl reload aiidpd")
    on.machine.until(lambda: on.state("thermal") == "running", "the new configuration")
    on.machine.write(more, '[gpu]\nlibary = "off"\n')
    assert on.machine.run("systemctl", "reload", "aiidpd", check=False).returncode != 0
    assert "libary" in on.journal()
    assert (on.state("thermal"), on.show("MainPID")) == ("running", before)
    on.machine.shell(f"rm {more} && systemctl reload aiidpd")


def test_a_user_of_the_group_reads_as_the_page_says(on: Packaged) -> None:
    assert on.machine.run("aiidpctl", "status", user="alice", check=False).returncode == 4
    for command in commands("Install as a service", 1):
        on.machine.shell(command)
    assert "thermal" in on.machine.run("aiidpctl", "status", user="alice").stdout
    assert on.machine.run("aiidpctl", "reload", user="alice", check=False).returncode == 4


def test_an_engine_that_is_installed_later_is_found_through_the_gate(on: Packaged) -> None:
    # Other tests have containers on this engine that say they may be healed.
    on.machine.write("/etc/aiidpd/conf.d/test.toml", "[containers.heal]\ndry_run = true\n")
    on.machine.shell("chmod 644 /etc/aiidpd/conf.d/test.toml && systemctl reload aiidpd")
    on.machine.write("/srv/lending.py", LENDING)
    on.machine.write("/srv/client.py", CLIENT)
    on.machine.shell("systemd-run --unit=lending python3 /srv/lending.py")
    on.machine.until(lambda: on.state("containers") == "running", "containers", 60)
    names = [each["name"] for each in on.ctl("containers", "list")["containers"]]
    assert on.machine.name in names
    assert on.groups() == {"aiidpd", "video", "aiidpd-metrics"}
    assert ask(on.machine, "aiidpd", "/info") == "200"
    assert ask(on.machine, "aiidpd", "/containers/create", "POST") == "403"
    assert "PermissionError" in ask(on.machine, "aiidpd", "/info", path="/run/docker.sock")
    assert "failed" not in on.doctor()["docker"]


def test_the_gate_goes_and_comes_back_as_the_page_says(on: Packaged) -> None:
    heading = "Docker through the gate alone"
    for number, wanted in ((0, {"docker"}), (1, set())):
        on.machine.shell("\n".join(commands(heading, number)))
        on.machine.until(lambda: on.state("containers") == "running", "containers", 60)
        assert on.groups() & {"docker"} == wanted
        assert on.doctor()["docker-socket"] == ["ok"]
    on.machine.shell("systemctl stop lending; rm /run/docker.sock; systemctl stop aiidpd")
    on.machine.shell("rm /var/lib/aiidpd/containers-seen.json; systemctl start aiidpd")


def test_the_governor_gets_its_one_right_as_the_page_says(on: Packaged) -> None:
    for command in commands("Let the governor cool GPUs"):
        on.machine.shell(command)
    status = on.machine.shell(f"grep ^CapEff: /proc/{on.show('MainPID')}/status")
    assert int(status.split()[1], 16) == 1 << 21
    on.machine.shell("rm /etc/systemd/system/aiidpd.service.d/governor.conf && systemctl daemon-reload")
    on.machine.shell("rmdir /etc/systemd/system/aiidpd.service.d && systemctl restart aiidpd")


def test_an_upgrade_keeps_state_and_configuration(on: Packaged) -> None:
    pids = [on.show("MainPID", unit) for unit in ("aiidpd", "aiidpd-gate")]
    kept = on.ctl("events")["events"]
    assert EARLIER_DEFAULT in on.machine.shell(f"cat {CONFIG}")
    on.machine.shell(f"echo '{MARK}' >>{GATE}")
    on.machine.shell("systemctl disable aiidpd-gate.socket")  # what is off stays off
    on.install("now")
    assert on.machine.shell("dpkg-query -W -f '${Version}' aiidpd") != packages.EARLIER
    assert on.show("ActiveState") == "active"
    assert not set(pids) & {on.show("MainPID", unit) for unit in ("aiidpd", "aiidpd-gate")}
    ids = {each["id"] for each in on.ctl("events")["events"]}
    assert {each["id"] for each in kept} <= ids
    # What nobody changed is the new default, what somebody did stays; both may be read as before.
    assert EARLIER_DEFAULT not in on.machine.shell(f"cat {CONFIG}")
    assert on.machine.shell(f"tail -n 1 {GATE}") == MARK
    assert on.machine.shell(f"stat -c '%U:%G %a' {CONFIG} {GATE}").split("\n") == ["root:aiidpd 640"] * 2
    assert on.machine.run("systemctl", "is-enabled", "aiidpd-gate.socket", check=False).stdout == "disabled\n"
    assert on.machine.shell("systemctl is-enabled aiidpd") == "enabled"
    on.machine.shell("systemctl enable aiidpd-gate.socket")


def test_a_downgrade_is_refused_and_all_goes_on(on: Packaged) -> None:
    before = on.show("MainPID")
    version = on.machine.shell("dpkg-query -W -f '${Version}' aiidpd")
    path = on.machine.shell("ls /srv/earlier/*.deb")
    words = on.apt("--allow-downgrades", "install", path, code=100)
    assert f"version {packages.EARLIER} is not installed over {version}, which is newer" in words
    assert "apt purge aiidpd" in words
    assert (
        on.machine.shell("dpkg-query -W -f '${Version} ${Status}' aiidpd")
        == f"{version} install ok installed"
    )
    assert on.show("MainPID") == before
    assert on.show("ActiveState") == "active"


def test_a_removal_leaves_configuration_and_state_and_a_purge_nothing(on: Packaged) -> None:
    on.machine.shell("touch /opt/aiidpd/lib/added-later")
    on.apt("remove", "aiidpd")
    assert on.machine.run("test", "-e", "/opt/aiidpd", check=False).returncode == 1
    assert MARK in on.machine.shell(f"cat {GATE}")
    on.machine.shell("test -e /var/lib/aiidpd/history.sqlite3 && getent passwd aiidpd")
    assert on.show("LoadState") == "not-found"
    on.machine.shell("mkdir /var/lib/aiidpd/mounted && mount -t tmpfs none /var/lib/aiidpd/mounted")
    on.machine.shell("touch /var/lib/aiidpd/mounted/kept")
    words = on.apt("purge", "aiidpd")
    assert "/var/lib/aiidpd is left in part" in words
    on.machine.shell("test -e /var/lib/aiidpd/mounted/kept && umount /var/lib/aiidpd/mounted")
    on.machine.shell("rmdir /var/lib/aiidpd/mounted /var/lib/aiidpd")
    assert listing(on.machine) - on.files == set()
    assert on.files - listing(on.machine) <= {"/opt"}  # dpkg takes an empty folder away, as each package's
    assert {each for each in accounts(on.machine) - on.accounts if not each.startswith("docker:")} == set()
    assert on.accounts - accounts(on.machine) == set()
    assert on.machine.shell("ls -d /run/aiidpd* || true") == ""


def test_one_that_was_made_by_hand_is_not_mixed_with(on: Packaged) -> None:
    on.machine.shell("mkdir -p /opt/aiidpd && touch /opt/aiidpd/pyvenv.cfg")
    words = on.apt("install", on.machine.shell("ls /srv/now/*.deb"), code=100)
    assert "/opt/aiidpd holds an installation that was made by hand" in words
    assert on.machine.run("getent", "passwd", "aiidpd", check=False).returncode == 2
    on.machine.shell("rm -r /opt/aiidpd")


def test_it_installs_where_no_systemd_runs(root: str, package: Path) -> None:
    with machine("aiidpd-test-image", root, [], ["sleep", "infinity"]) as bare:
        bare.copy(package, "/srv")
        bare.shell("DEBIAN_FRONTEND=noninteractive apt install -y /srv/*.deb")
        assert bare.shell("systemctl is-enabled aiidpd") == "enabled"
        bare.shell("aiidpd doctor && aiidpd check")
        bare.shell("apt-get -y purge aiidpd && ! getent passwd aiidpd && test ! -e /etc/aiidpd")
