"""An upgrade under guard by a command: kept where it is as good, else the old engine is back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.daemon import Daemon, running, start
from tests.fakes.docker_engine import RealDocker
from tests.fakes.tried_images import EngineImages
from tests.forms import short_and_long
from tests.integration.guard_site import LABELS, ctl, document, guarded, known, newest, settings
from tests.integration.trial_site import inspected, names, wrong
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.real("docker")

PACE: Final = {"first": 0.1, "gap": 0.005}
LOOSE: Final = ("--slower", "500%", "--pairs", "7")  # others use this machine meanwhile


@pytest.fixture(scope="module")
def images(docker: RealDocker) -> Iterator[EngineImages]:
    made = EngineImages(docker)
    yield made
    made.clean()


@pytest.fixture(scope="module")
def daemon(docker: RealDocker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("guard"), settings(docker)) as found:
        yield found


@pytest.fixture
def engine(images: EngineImages, daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a container whose engine is known to the daemon."""
    name = serving(images, f"g{abs(hash(request.node.name)) % 10**8}")
    known(daemon, name)
    yield name
    remove(name)


def serving(images: EngineImages, text: str, *options: str) -> str:
    name, port = images.run(text, images.image("one", **PACE), *LABELS, "--memory", "128m", *options)
    until(lambda: answers(port))
    return name


def remove(name: str) -> None:
    left = names(name)
    if left:
        subprocess.run(["docker", "rm", "-f", "-v", *left], check=True, capture_output=True)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def port_of(name: str) -> int:
    return int(inspected(name)["HostConfig"]["PortBindings"]["8000/tcp"][0]["HostPort"])


def same(name: str, old: dict[str, Any]) -> bool:
    """Return whether nobody has touched the container."""
    found = inspected(name)
    return bool(found["Id"] == old["Id"] and found["State"]["StartedAt"] == old["State"]["StartedAt"])


def back(name: str, old: dict[str, Any]) -> None:
    """See that the old engine serves again, as it was."""
    assert wrong(name, old["Id"]) == []
    assert inspected(name)["Config"] == old["Config"]
    until(lambda: answers(port_of(name)))


def test_the_plan_changes_nothing(images: EngineImages, daemon: Daemon, engine: str) -> None:
    before = inspected(engine)
    done = ctl(daemon, "bench", "guard", images.image("two", **PACE), "--for", engine)
    assert done.returncode == 0, done.stderr
    assert "nothing was touched; with --apply it is done" in done.stdout
    assert "in its place" in done.stdout
    assert same(engine, before)
    plan = document(daemon, "bench", "guard", "no/such:image", "--for", engine)
    assert (plan["present"], plan["refusal"]) == (False, "")


def test_one_that_is_as_good_is_kept(images: EngineImages, daemon: Daemon, engine: str) -> None:
    old, two = inspected(engine), images.image("two", **PACE)
    done = guarded(daemon, two, engine, *LOOSE, "--swap-back", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    new = inspected(engine)
    assert (names(engine), new["State"]["Running"]) == ([engine], True)
    assert new["Id"] != old["Id"]
    assert new["Config"]["Image"] == two
    assert inspected(images.image("one", **PACE))["Id"] == old["Image"], "the old image stays"
    found = newest(daemon)
    assert (found["outcome"], found["mode"], found["findings"]) == ("kept", "in place", [])
    assert {(each["side"], each["round"]) for each in found["measurements"]} == {
        ("old", 0), ("new", 0), ("old", 1), ("new", 1),
    }  # fmt: skip
    assert (found["old_image"]["id"], found["new_image"]["id"]) == (old["Image"], new["Image"])
    assert found["stopped_seconds"] > 0
    assert found["ready_seconds"] > 0
    assert found["answers"]["share"] == 1
    assert "kept" in ctl(daemon, "bench", "upgrades").stdout
    assert "bench.upgrade_guarded" in ctl(daemon, "events", "--kind", "bench.upgrade_guarded").stdout


def test_both_run_at_once_where_that_is_wished(images: EngineImages, daemon: Daemon, engine: str) -> None:
    done = guarded(daemon, images.image("two", **PACE), engine, *LOOSE, "--beside")
    assert done.returncode == 0, done.stdout + done.stderr
    found = newest(daemon)
    assert (found["mode"], found["outcome"]) == ("beside", "kept")
    assert found["compared"]
    assert names(engine) == [engine]


@pytest.mark.parametrize(
    "worse",
    [
        ({"first": 0.2, "gap": 0.02}, "speed", "slower"),
        ({"answer": "ships of old towns"}, "answers", "0 of 4 answers are the same"),
        ({"hangs": True}, "ready", "it was not ready within 3 s"),
        ({"listens_after": None}, "ready", "it was not ready within 3 s"),
        ({"dies_after": 0.2}, "", "exit code 3"),
        ({"dies_after": 0.2, "eats": True}, "", "out of memory"),
        ({"dies_after": 4.0}, "", "exit code 3"),
        ({"fails_after": 12}, "", ""),
    ],
    ids=[
        "slower",
        "nonsense",
        "hangs",
        "never ready",
        "crashes",
        "out of memory",
        "crashes later",
        "fails later",
    ],
)
def test_one_that_is_worse_goes_back(
    images: EngineImages,
    daemon: Daemon,
    engine: str,
    worse: tuple[dict[str, Any], str, str],
) -> None:
    how, criterion, words = worse
    old = inspected(engine)
    bad = images.image("bad", **{**PACE, **how})
    limits = ("--slower", "80%") if criterion == "speed" else ()
    done = guarded(daemon, bad, engine, *LOOSE, *limits, "--ready", "3s" if criterion == "ready" else "20s")
    assert done.returncode == 1, done.stdout + done.stderr
    back(engine, old)
    found = newest(daemon)
    assert found["outcome"] == "returned"
    assert criterion in {each["criterion"] for each in found["findings"]} | {""}
    assert words in " ".join(each["text"] for each in found["findings"])
    if "dies_after" in how and "eats" not in how:
        assert "sk-abc" not in json.dumps(found)
        assert any("no kernel image is available" in line for line in found["new_log"])
    assert not [each for each in document(daemon, "status")["conditions"] if "upgrade" in each["type"]]


def test_what_can_t_be_tried_ends_with_two(
    docker: RealDocker, images: EngineImages, daemon: Daemon, engine: str
) -> None:
    two = images.image("two", **PACE)
    old = inspected(engine)
    done = guarded(daemon, two, docker.name("nobody"))
    assert (done.returncode, "there is no container of this name" in done.stderr) == (2, True)
    done = guarded(daemon, old["Config"]["Image"], engine)
    assert (done.returncode, "nothing to try" in done.stderr) == (2, True)
    done = guarded(daemon, "localhost:1/no/such:image", engine)
    assert (done.returncode, "cannot pull" in done.stderr or "refuse" in done.stderr) == (2, True), (
        done.stderr
    )
    assert same(engine, old)
    name = serving(images, "unlabelled", "--label", "aiidpd.upgrade=off")
    known(daemon, name)
    done = guarded(daemon, two, name)
    assert (done.returncode, "aiidpd.upgrade=allow" in done.stderr) == (2, True)
    remove(name)


def test_users_are_waited_for_and_nothing_is_stopped_while_there_are_some(
    images: EngineImages, daemon: Daemon, engine: str
) -> None:
    old = inspected(engine)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port_of(engine)}/v1/chat/completions",
        data=json.dumps({"stream": True, "max_tokens": 3600}).encode(),
    )
    user = threading.Thread(target=lambda: urllib.request.urlopen(request, timeout=60).read())
    user.start()
    done = guarded(daemon, images.image("two", **PACE), engine, *LOOSE, "--drain", "1s", "--minutes", "0.1")
    user.join()
    assert done.returncode == 2, done.stdout + done.stderr
    assert same(engine, old)


def test_a_second_one_is_refused_and_the_first_can_be_cancelled(
    images: EngineImages, daemon: Daemon, engine: str
) -> None:
    old, two = inspected(engine), images.image("two", **PACE)
    command = ("bench", "guard", two, "--for", engine, "--apply")
    first = ctl(daemon, *command, *LOOSE, "--no-wait", "--settle", "1h")
    assert first.returncode == 0, first.stderr
    second = ctl(daemon, *command)
    assert "another upgrade of it goes on" in second.stderr
    until(lambda: newest(daemon)["stage"] == "settle", 4 * PATIENCE)
    heal = ctl(daemon, "containers", "heal", engine)
    assert "another image is tried in its place" in heal.stderr
    assert ctl(daemon, "bench", "upgrades", "--cancel").returncode == 0
    until(lambda: newest(daemon)["outcome"] == "returned")
    back(engine, old)


def test_a_command_that_is_killed_changes_nothing(images: EngineImages, daemon: Daemon, engine: str) -> None:
    old, two = inspected(engine), images.image("two", **PACE)
    socket = str(daemon.folder / "run/control.sock")
    command = [
        sys.executable,
        "-m",
        "aiidpd.cli.main",
        "--socket",
        socket,
        "bench",
        "guard",
        two,
        "--for",
        engine,
    ]
    command += ["--apply", *LOOSE, "--settle", "1h"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: len(names(engine)) == 2, 4 * PATIENCE)
        finally:
            process.kill()
    until(lambda: newest(daemon)["stage"] == "settle", 4 * PATIENCE)
    assert ctl(daemon, "bench", "upgrades", "--cancel").returncode == 0
    until(lambda: newest(daemon)["outcome"] == "returned")
    back(engine, old)


STAGES: Final = ("baseline", "swap", "ready", "settle", "accept", "measure")


@short_and_long("stages", (("swap", "measure"),), (STAGES,))
def test_a_daemon_that_is_killed_goes_back_at_its_next_start(
    docker: RealDocker, images: EngineImages, tmp_path: Path, stages: tuple[str, ...]
) -> None:
    name = serving(images, f"killed{len(stages)}")
    old, two = inspected(name), images.image("two", **PACE)
    for stage in stages:
        killed = start(tmp_path, settings(docker))
        try:
            known(killed, name)
            options = ("--apply", "--no-wait", "--settle", "1s", "--pairs", "8", "--minutes", "60")
            assert ctl(killed, "bench", "guard", two, "--for", name, *options).returncode == 0
            until(lambda stage=stage, killed=killed: reached(killed, stage), 4 * PATIENCE)  # type: ignore[misc]
        finally:
            os.kill(killed.process.pid, signal.SIGKILL)
            killed.process.wait()
        with running(tmp_path, settings(docker)) as next_one:
            until(lambda: wrong(name, old["Id"]) == [], why=lambda: str(wrong(name, old["Id"])))
            known(next_one, name)
            back(name, old)
            assert newest(next_one)["outcome"] == "interrupted"
    remove(name)


def reached(daemon: Daemon, stage: str) -> bool:
    order = ["begin", "baseline", "drain", "swap", "ready", "settle", "accept", "measure"]
    return (
        order.index(newest(daemon)["stage"]) >= order.index(stage)
        if any(document(daemon, "bench", "upgrades")["upgrades"])
        else False
    )


def test_evidence_that_can_t_be_stored_is_no_upgrade(
    docker: RealDocker, images: EngineImages, tmp_path: Path
) -> None:
    name = serving(images, "fulldisk")
    old = inspected(name)
    with running(tmp_path, settings(docker)) as daemon:
        known(daemon, name)
        (tmp_path / "state" / "upgrades").write_text("in the way")
        done = guarded(daemon, images.image("two", **PACE), name)
        assert (done.returncode, "cannot store the evidence" in done.stderr) == (2, True), done.stderr
    assert same(name, old)
    remove(name)
