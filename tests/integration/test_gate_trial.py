"""Another image is tried in the place of a real container, through the gate, which makes all of it itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiidpd.components.containers.docker.gated import GatedActions
from aiidpd.contracts.trials import Wish
from tests.daemon import running, start
from tests.fakes.busybox import root_archive
from tests.fakes.docker_engine import RealDocker
from tests.fakes.gate import RunningGate, message, parted, running_gate
from tests.fakes.registry import Registry
from tests.fakes.smuggling import IMAGES
from tests.fakes.tried_images import EngineImages
from tests.forms import short_and_long
from tests.integration.guard_site import document, guarded, known, newest, settings
from tests.integration.recreate_site import Faulty
from tests.integration.test_guard import LOOSE, PACE, reached, remove, same, serving
from tests.integration.trial_site import ACTS, TrialSite, inspected, names, wrong
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.real("docker")

NEW = "aiidpd-new-0123abcd"


@pytest.fixture(scope="module")
def images(docker: RealDocker) -> Iterator[EngineImages]:
    made = EngineImages(docker)
    yield made
    made.clean()


@pytest.fixture
def gate(docker: RealDocker, tmp_path: Path) -> Iterator[RunningGate]:
    with running_gate(docker.socket, tmp_path) as found:
        yield found


@pytest.fixture
def name(images: EngineImages, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a container whose image may be replaced by another of its repository."""
    text, _ = images.run(
        f"gt{abs(hash(request.node.name)) % 10**8}", images.image("first"), "-e", "MODE=fast"
    )
    yield text
    remove(text)


def post(gate: RunningGate, target: str) -> tuple[int, str]:
    """Return status and words of the gate's answer."""
    status, body = gate.get(target, "POST")
    return status, message(body) if status >= 400 else ""


async def test_it_is_tried_and_kept(
    gate: RunningGate, images: EngineImages, name: str, tmp_path: Path
) -> None:
    site = TrialSite(tmp_path, gate.socket, name, gated=True)
    old, two = inspected(name), images.image("second")
    async with site.running():
        state = await site.tried(two, Wish.BESIDE)
        assert (state.serving, state.new.running) == ("old", True), state
        state = await site.tried(two)
        assert (state.serving, state.disturbed, state.ended) == ("new", "", ""), state
        site.wish(Wish.KEEP, two)
        assert (await site.until(lambda each: each.ended)).ended == "kept"
    new = inspected(name)
    assert names(name) == [name]
    assert (new["Config"]["Image"], new["Image"]) == (two, inspected(two)["Id"])
    assert {"ENGINE_VERSION=second", "MODE=fast"} <= set(new["Config"]["Env"])
    assert new["Config"]["Labels"] == old["Config"]["Labels"]
    assert new["HostConfig"] == old["HostConfig"] | {"Binds": new["HostConfig"]["Binds"]}
    assert "denied" not in gate.logged()


async def test_it_goes_back(gate: RunningGate, images: EngineImages, name: str, tmp_path: Path) -> None:
    site = TrialSite(tmp_path, gate.socket, name, gated=True)
    old, two = inspected(name)["Id"], images.image("second")
    async with site.running():
        for wish, which in ((Wish.NEW, "new"), (Wish.OLD, "old"), (Wish.NEW, "new")):
            assert (await site.tried(two, wish)).serving == which
        site.wish(Wish.BACK, two)
        assert (await site.until(lambda each: each.ended)).ended == "returned"
    assert wrong(name, old) == []


async def test_one_of_another_repository_is_refused_in_the_plan(
    docker: RealDocker, gate: RunningGate, name: str, tmp_path: Path
) -> None:
    site = TrialSite(tmp_path, gate.socket, name, gated=True)
    old = inspected(name)
    async with site.running():
        state = await site.tried(docker.image)
        assert "not of the container's own repository" in str(state.plan and state.plan.refusal)
    assert inspected(name) == old


@pytest.mark.parametrize("how", ["after"])
async def test_a_call_that_fails_at_any_step_loses_nothing(
    gate: RunningGate, images: EngineImages, name: str, tmp_path: Path, how: str
) -> None:
    old, two = inspected(name)["Id"], images.image("second")
    for at in range(9):
        folder = tmp_path / str(at)
        folder.mkdir()
        faulty = Faulty(GatedActions(gate.socket, call_timeout=PATIENCE), at=at, how=how, kinds=ACTS)
        await there_and_back(TrialSite(folder, gate.socket, name, actions=faulty), two)
        assert wrong(name, old) == [], f"call {at}, {faulty.calls}, {how}"


async def there_and_back(site: TrialSite, image: str) -> None:
    """Wish the image, and back, whatever comes between."""
    async with site.running():
        site.wish(Wish.NEW, image)
        state = await site.until(lambda each: each.wish is Wish.NEW or each.ended)
        if not state.ended:
            site.wish(Wish.BACK, image)
        state = await site.until(lambda each: each.ended)
        assert state.ended == "returned", state
        assert site.conditions.active() == ()


class RestartedGate:
    """A gate that is killed, and started anew a moment later as systemd does."""

    def __init__(self, docker: RealDocker, folder: Path) -> None:
        self.config, self.socket = folder / "gate.toml", folder / "gate.sock"
        self.config.write_text(f'engine = "{docker.socket}"\nusers = [{os.geteuid()}]\n')
        self.config.chmod(0o644)
        self._threads: list[threading.Thread] = []
        self._process = self._start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._threads.append(threading.Thread(target=self._again))
        self._threads[-1].start()

    def close(self) -> None:
        for each in self._threads:
            each.join()
        self._process.kill()
        self._process.wait()

    def _again(self) -> None:
        time.sleep(0.3)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self.socket.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "aiidpd.gate",
            "--config",
            str(self.config),
            "--listen",
            str(self.socket),
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until(self.socket.is_socket)
        return process


@contextmanager
def restarted_gate(docker: RealDocker, folder: Path) -> Iterator[RestartedGate]:
    gate = RestartedGate(docker, folder)
    try:
        yield gate
    finally:
        gate.close()


async def test_a_gate_that_is_killed_at_any_step_loses_nothing(
    docker: RealDocker, images: EngineImages, name: str, tmp_path: Path
) -> None:
    old, two = inspected(name)["Id"], images.image("second")
    with restarted_gate(docker, tmp_path) as gate:
        for at in range(0, 9, 2):
            folder = tmp_path / str(at)
            folder.mkdir()
            how = "cancelled before" if at % 4 else "cancelled after"
            actions = GatedActions(gate.socket, call_timeout=5.0)
            faulty = Faulty(actions, at=at, how=how, kinds=ACTS, cancel=gate.kill)
            site = TrialSite(folder, gate.socket, name, actions=faulty)
            await there_and_back(site, two)
            assert wrong(name, old) == [], f"call {at}, {faulty.calls}, {how}"


@short_and_long("rounds", 3, 30)
def test_whatever_kills_a_daemon_the_old_one_serves_again(
    gate: RunningGate, images: EngineImages, name: str, tmp_path: Path, rounds: int
) -> None:
    both = f"{images.image('first')},{images.image('second')}"
    arguments = [str(tmp_path), str(gate.socket), name, both, "3", "gated", str(rounds)]
    command = [sys.executable, "-m", "tests.integration.trial_scenario", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["wrong"] == []
    seen: Counter[str] = Counter(told["seen"])
    assert seen["kept"] + seen["returned"] == rounds


async def test_a_hostile_caller_gets_no_other_image_in_and_no_container_away(
    docker: RealDocker, gate: RunningGate, images: EngineImages, name: str
) -> None:
    two, other = images.image("second"), inspected(docker.image)["Id"]
    created = ("ps", "-aq", "--filter", "status=created")
    before = await docker.docker(*created)
    for image in (
        docker.image,
        other,
        other.removeprefix("sha256:"),
        other[:19],
        "busybox",
        f"evil.io/{two}",
    ):
        for kind in (f"images/{name}?name={name}-{NEW}&", f"pulls/{name}?"):
            assert post(gate, f"/aiidpd/{kind}image={image}")[0] == 403, image
    assert await docker.docker(*created) == before
    assert post(gate, f"/aiidpd/images/{name}?name={name}-{NEW}&image={inspected(two)['Id']}") == (201, "")
    assert inspected(f"{name}-{NEW}")["Config"]["Image"] == two
    assert post(gate, f"/aiidpd/images/{name}?name={name}-{NEW}-beside&image={two}") == (201, "")
    status, words = post(gate, f"/aiidpd/images/{name}?name={name}-aiidpd-new-9999&image={two}")
    assert (status, "are there already" in words) == (403, True)
    assert gate.get(f"/containers/{name}-{NEW}", "DELETE")[0] == 204
    assert post(gate, f"/containers/{name}/stop?t=0")[0] == 204
    assert gate.get(f"/containers/{name}", "DELETE")[0] == 403
    assert post(gate, f"/containers/{name}/rename?name={name}-aiidpd-old-0123abcd")[0] == 204
    assert post(gate, f"/containers/{name}-{NEW}-beside/rename?name={name}")[0] == 403
    assert gate.get(f"/containers/{name}-aiidpd-old-0123abcd", "DELETE")[0] == 403
    assert post(gate, f"/containers/{name}-{NEW}-beside/start")[0] == 204
    assert names(name) == [f"{name}-{NEW}-beside", f"{name}-aiidpd-old-0123abcd"]


@pytest.mark.parametrize("request_", IMAGES, ids=range(len(IMAGES)))
async def test_nothing_is_smuggled_into_the_real_engine(
    docker: RealDocker, gate: RunningGate, request_: bytes
) -> None:
    assert parted(gate.ask(request_))[0] in (400, 403, 404, 431)
    assert await docker.docker("ps", "-aq", "--filter", "name=vllm-aiidpd-new") == ""


async def test_an_image_is_fetched_from_its_registry_and_no_other(
    docker: RealDocker, gate: RunningGate, tmp_path: Path
) -> None:
    registry = Registry()
    archive = root_archive(Path(str(shutil.which("busybox"))))
    one, two = (registry.add("llm", tag, archive, Cmd=["sleep", "600"], Env=[f"V={tag}"]) for tag in "12")
    text = docker.name("fetched")
    actions, words = GatedActions(gate.socket, call_timeout=PATIENCE), []
    with registry.serving():
        await docker.docker("pull", one)
        await docker.docker("run", "-d", "--init", "--name", text, "--label", "aiidpd.upgrade=allow", one)
        registry.asked.clear()
        assert post(gate, f"/aiidpd/pulls/{text}?image={registry.address}/other:2")[0] == 403
        assert registry.asked == []
        found = await actions.pull(two, words.append, container=text)
        assert found is not None
        assert any("Pulling from llm" in each for each in words)
        status, body = gate.get(f"/aiidpd/pulls/{text}?image={registry.address}/llm:9", "POST")
        assert (status >= 400, b"manifest unknown" in body) == (True, True), body
        await actions.aclose()
        site = TrialSite(tmp_path, gate.socket, text, gated=True)
        async with site.running():
            assert (await site.tried(two)).serving == "new"
            site.wish(Wish.BACK, two)
            assert (await site.until(lambda each: each.ended)).ended == "returned"
    await docker.docker("rm", "-f", text)
    await docker.docker("rmi", one, two)


def gated_settings(docker: RealDocker, gate: RunningGate) -> dict[str, str]:
    return settings(docker, AIIDPD_CONTAINERS__GATE="true", AIIDPD_CONTAINERS__SOCKET=str(gate.socket))


def test_an_upgrade_is_guarded_behind_the_gate(
    docker: RealDocker, gate: RunningGate, images: EngineImages, tmp_path: Path
) -> None:
    name = serving(images, "guarded")
    old, two = inspected(name), images.image("two", **PACE)
    with running(tmp_path, gated_settings(docker, gate)) as daemon:
        known(daemon, name)
        plan = document(daemon, "bench", "guard", two, "--for", name)
        assert plan["refusal"] == ""
        done = guarded(daemon, docker.image, name)
        assert (done.returncode, "not of the container's own repository" in done.stderr) == (2, True), (
            done.stderr
        )
        assert same(name, old)
        done = guarded(daemon, two, name, *LOOSE, "--pairs", "16")  # what others disturb is dropped
        assert done.returncode == 0, done.stdout + done.stderr
        new = inspected(name)
        assert (names(name), new["State"]["Running"], new["Config"]["Image"]) == ([name], True, two)
        assert new["Id"] != old["Id"]
        assert newest(daemon)["outcome"] == "kept"
    remove(name)


def test_a_daemon_that_is_killed_behind_the_gate_goes_back_at_its_next_start(
    docker: RealDocker, gate: RunningGate, images: EngineImages, tmp_path: Path
) -> None:
    name = serving(images, "killedgated")
    old, two = inspected(name), images.image("two", **PACE)
    killed = start(tmp_path, gated_settings(docker, gate))
    try:
        known(killed, name)
        done = guarded(killed, two, name, *LOOSE, "--no-wait", "--settle", "1h")
        assert done.returncode == 0, done.stderr
        until(lambda: reached(killed, "settle"), 4 * PATIENCE)
    finally:
        os.kill(killed.process.pid, signal.SIGKILL)
        killed.process.wait()
    assert len(names(name)) == 2
    with running(tmp_path, gated_settings(docker, gate)):
        until(lambda: wrong(name, old["Id"]) == [], why=lambda: str(wrong(name, old["Id"])))
    remove(name)
