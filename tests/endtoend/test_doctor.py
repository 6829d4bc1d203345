"""The doctor on an installed service: what its sandbox hides, and how docs/operations.md mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.endtoend.containers import Machine
from tests.endtoend.test_systemd import CONFIG, DAEMON, DROP_INS, Service

pytestmark = [pytest.mark.real("systemd"), pytest.mark.long, pytest.mark.timeout(1200)]

SOURCE, TARGET = "/home/alice/models", "/mnt/backup/models"
CONFIGURED = f"""\
[gpu]
library = "off"

[containers]
engine = "off"

[backup]
source = "{SOURCE}"
target = "{TARGET}"
"""


@pytest.fixture
def service(booted: Machine) -> Iterator[Service]:
    found = Service(booted)
    found.configure(CONFIGURED)
    booted.shell(f"mkdir -p {SOURCE} /mnt/backup && chmod 755 /home/alice && printf x >{SOURCE}/a")
    yield found
    booted.shell(f"systemctl stop aiidpd; systemctl reset-failed aiidpd || true; rm -rf {DROP_INS}")
    booted.shell("systemctl daemon-reload; rm -rf /var/lib/aiidpd/* /home/alice /mnt/backup")


def outcomes(service: Service, user: str = "") -> dict[str, set[str]]:
    """Return the outcomes of each check, and compare the exit code."""
    done = service.machine.run(DAEMON, "doctor", "--json", "--config", CONFIG, user=user, check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == (1 if answer["outcome"] == "failed" else 0), done.stderr
    assert done.stderr == ""
    found: dict[str, set[str]] = {}
    for each in answer["checks"]:
        found.setdefault(each["name"], set()).add(each["outcome"])
    return found


def test_what_the_unit_hides_is_found_before_the_start_and_mended_as_the_page_says(service: Service) -> None:
    on = service.machine
    before = outcomes(service)
    assert "failed" in before["backup.source"]
    assert "failed" in before["backup.target"]
    assert "failed" not in before["unit"]
    on.shell(f"install -d -o aiidpd -g aiidpd -m 750 {TARGET}")
    service.drop_in(f"ReadWritePaths={TARGET}\nBindReadOnlyPaths={SOURCE}")
    after = outcomes(service)
    assert "failed" not in after["backup.source"] | after["backup.target"]
    service.start()
    running = outcomes(service)
    assert running["daemon"] == {"ok"}
    assert running["ports"] == {"ok"}
    assert [name for name, found in running.items() if "failed" in found] == []
    service.ctl("backup", "run")
    assert (
        on.run("stat", "-c", "%U:%G %a", "/run/aiidpd/metrics.sock").stdout == "aiidpd:aiidpd-metrics 660\n"
    )


def test_another_user_learns_what_that_user_may_not_read(service: Service) -> None:
    found = outcomes(service, user="stranger")
    assert found["config"] == {"warning"}


def test_a_state_folder_that_others_steer_is_refused(service: Service) -> None:
    on = service.machine
    on.shell("install -d -o aiidpd -g aiidpd -m 750 /var/lib/aiidpd /srv/elsewhere")
    on.shell("ln -s /srv/elsewhere /var/lib/aiidpd/incidents")
    assert on.run("systemctl", "start", "aiidpd", check=False).returncode != 0
    assert service.show("ExecMainStatus") == "2"
    service.said("incidents can't be trusted")
    assert on.run(DAEMON, "check", "--config", CONFIG, check=False).returncode == 2
    assert "failed" in outcomes(service)["state"]
