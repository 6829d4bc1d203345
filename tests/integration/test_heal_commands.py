"""``aiidpctl containers heal``, ``unpark`` and ``healing`` on a daemon with simulated containers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.daemon import Daemon, running
from tests.waiting import PATIENCE

NAME = "SIMULATED-vllm-openai-0"
OTHER = "SIMULATED-text-embeddings-2"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("heal")) as daemon:
        daemon.wait_for("aiidpd_container_heal_budget_left")
        yield daemon


def ctl(daemon: Daemon, *arguments: str, code: int = 0) -> tuple[str, str]:
    command = [sys.executable, "-m", "aiidpd.cli.main", "--socket", str(daemon.folder / "run/control.sock")]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_a_plan_touches_nothing_and_a_heal_by_hand_waits_for_its_outcome(daemon: Daemon) -> None:
    out, _ = ctl(daemon, "containers", "heal", NAME, "--dry-run")
    assert out.startswith(f"{NAME} would be restarted, after its evidence was collected")
    assert "by itself aiidpd decides: nothing (nothing is wrong with it)" in out
    out, err = ctl(daemon, "containers", "heal", NAME)
    assert out.startswith("healthy ")
    assert "succeeded" in err
    out, _ = ctl(daemon, "containers", "healing", "--json")
    (found,) = [each for each in json.loads(out)["containers"] if each["name"] == NAME]
    assert found["last"]["outcome"] == "healed"
    assert found["last"]["fault"] == "requested"
    assert found["budget_left"] == 5, "what a person requests costs none"
    assert 'outcome="healed"' in daemon.exposition()


def test_a_heal_can_be_left_alone_and_followed_later(daemon: Daemon) -> None:
    out, _ = ctl(daemon, "containers", "heal", OTHER, "--no-wait")
    assert out.startswith("heal-")
    ctl(daemon, "jobs", "follow", out.strip())


def test_what_cannot_be_created_anew_says_so_and_fails(daemon: Daemon) -> None:
    out, _ = ctl(daemon, "containers", "heal", NAME, "--recreate", "--dry-run", code=1)
    assert "can't be created anew" in out
    _, err = ctl(daemon, "containers", "heal", NAME, "--recreate", code=1)
    assert "failed: it must be created anew" in err
    out, _ = ctl(daemon, "containers", "healing", "--json")
    (found,) = [each for each in json.loads(out)["containers"] if each["name"] == NAME]
    assert found["decision"] == "nothing", "a person's request parks nothing"


def test_a_name_that_is_not_there_lists_those_that_are_near(daemon: Daemon) -> None:
    _, err = ctl(daemon, "containers", "heal", "SIMULATED-vllm", code=1)
    assert f"there is no container of this name; is it {NAME}" in err
    _, err = ctl(daemon, "containers", "unpark", NAME, code=1)
    assert "it is not parked" in err


def test_healing_is_suspended_for_a_while_and_resumed(daemon: Daemon) -> None:
    _, err = ctl(daemon, "containers", "healing", "suspend", NAME, "--for", "2h")
    assert "is not healed for 2 h" in err
    out, _ = ctl(daemon, "containers", "healing")
    assert f"{NAME}: suspended by " in out
    out, _ = ctl(daemon, "containers", "healing", "resume", NAME, "--json")
    assert json.loads(out)["suspended_by"] == ""
    out, _ = ctl(daemon, "events", "--kind", "container.heal_")
    assert "container.heal_suspended" in out
    assert "container.heal_resumed" in out
