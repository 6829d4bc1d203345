"""Containers that the real docker-compose has made are created anew by it, from an unchanged file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.heal.protocols import NotRecreated, Recreated
from aiidpd.kernel.errors import Unavailable
from tests.fakes.docker_engine import RealDocker
from tests.forms import short_and_long
from tests.integration.recreate_site import Faulty, Site

pytestmark = [pytest.mark.real("docker"), pytest.mark.real("compose")]

FILE = """\
version: "3.9"
services:
  engine:
    image: {image}
    command: sleep 600
    init: true
    env_file: engine.env
    environment:
      FILLED: "${{FILLED}}"
    labels:
      aiidpd.heal: recreate
    volumes:
      - data:/data
      - /anonymous
      - ./engine.env:/etc/engine.env:ro
    networks:
      one:
        aliases: [llm]
      two: {{}}
    ports: ["127.0.0.1::8000"]
    healthcheck:
      test: ["CMD", "true"]
      interval: 5s
    depends_on: [store]
    profiles: [gpu]
    stop_grace_period: 3s
    ulimits: {{nofile: 1024}}
    mem_limit: 256m
    restart: unless-stopped
  store:
    image: {image}
    command: sleep 600
    init: true
    networks: [one]
volumes:
  data: {{}}
networks:
  one: {{}}
  two: {{}}
"""


class Project(Site):
    """A project of two services, whose first is the site."""

    def __init__(self, folder: Path, docker: RealDocker, project: str) -> None:
        super().__init__(folder, docker.socket, f"{project}_engine_1")
        self.project, self.docker = project, docker
        self.files = folder / "files"
        self.files.mkdir()
        (self.files / "docker-compose.yml").write_text(FILE.format(image=docker.image))
        (self.files / "engine.env").write_text("FROM_FILE=1\n")
        (self.files / ".env").write_text("FILLED=from .env\n")

    async def compose(self, *arguments: str) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": "/root"}
        command = ["docker-compose", "-p", self.project, "--profile", "gpu", *arguments]
        await anyio.run_process(command, cwd=self.files, env=environment)

    async def environment(self) -> set[str]:
        found = (await self.describe())["Config"]["Env"]
        return {each for each in found if not each.startswith("affinity:container=")}  # compose's own

    async def store(self) -> str:
        return str((await self.describe(f"{self.project}_store_1"))["Id"])


@pytest.fixture
async def project(
    docker: RealDocker, tmp_path: Path, missing: Callable[[str, str], None]
) -> AsyncIterator[Project]:
    if shutil.which("docker-compose") is None:
        missing("compose", "apt-get install docker-compose")
    project = Project(tmp_path, docker, docker.name("project"))
    await project.compose("up", "-d")
    yield project
    await project.aclose()
    left = await project.names()
    await docker.docker("rm", "-f", "-v", *left) if left else ""
    await project.compose("down", "-v", "-t", "0")


async def test_what_compose_has_made_is_created_anew_by_it(project: Project) -> None:
    old, facts, environment, store = (
        await project.id(),
        await project.facts(),
        await project.environment(),
        await project.store(),
    )
    assert {"FROM_FILE=1", "FILLED=from .env"} <= environment
    assert await project.recreator().check(old) is None
    done = await project.recreate()
    assert done == Recreated(await project.id(), "compose")
    assert done.identity != old
    assert await project.wrong(facts) == []
    assert await project.environment() == environment
    assert await project.store() == store, "its dependencies are left alone"


@pytest.mark.parametrize("change", ["docker-compose.yml", ".env", "engine.env"])
async def test_a_file_that_has_changed_is_not_deployed_by_a_heal(project: Project, change: str) -> None:
    old, facts, environment = await project.id(), await project.facts(), await project.environment()
    path = project.files / change
    path.write_text(path.read_text().replace("600", "601").replace("from", "by").replace("=1", "=2"))
    done = await project.recreate()
    reason = "not by compose: its compose file has changed since, and a heal brings no change"
    assert done == Recreated(await project.id(), "inspect", reason)
    assert done.identity != old
    assert await project.wrong(facts) == []
    assert await project.environment() == environment
    assert (await project.describe())["Config"]["Cmd"] == ["sleep", "600"]
    await project.compose("up", "-d", "--no-recreate")
    assert await project.wrong(facts) == [], "compose knows the copy as its own"


async def test_a_label_chooses_the_way_and_refuses_where_it_is_none(project: Project) -> None:
    path = project.files / "docker-compose.yml"
    text = path.read_text()
    path.write_text(text.replace("heal: recreate", "recreate: inspect"))
    await project.compose("up", "-d")
    done = await project.recreate()
    assert isinstance(done, Recreated)
    assert (done.way, done.notes) == ("inspect", "")

    path.write_text(text.replace("heal: recreate", "recreate: compose"))
    await project.compose("up", "-d")
    path.unlink()
    old = await project.id()
    done = await project.recreate()
    assert isinstance(done, NotRecreated)
    assert f"compose can't create it anew: {path} can't be read" in done.reason
    assert await project.id() == old
    path.write_text(text)


async def test_one_of_several_of_a_service_is_not_left_to_compose(
    project: Project,
) -> None:
    await project.compose("up", "-d", "--scale", "engine=2")
    done = await project.recreate()
    assert isinstance(done, Recreated)
    assert (done.way, done.notes) == ("inspect", "not by compose: its service has more than one container")


async def test_what_compose_makes_otherwise_is_said(project: Project) -> None:
    mounts = (await project.facts())["mounts"]
    await project.docker.docker("network", "disconnect", f"{project.project}_two", project.name)
    await project.docker.docker("update", "--memory", "300m", "--memory-swap", "-1", project.name)
    done = await project.recreate()
    assert isinstance(done, Recreated)
    assert done.notes == (
        "compose has changed HostConfig.Memory, HostConfig.MemorySwap, "
        f"NetworkSettings.Networks.{project.project}_two"
    )
    assert (await project.facts())["mounts"] == mounts


async def test_compose_that_fails_half_way_puts_the_old_one_back(project: Project, tmp_path: Path) -> None:
    old, facts = await project.id(), await project.facts()
    # A compose that stops and renames the old one, and fails then.
    broken = tmp_path / "bin"
    broken.mkdir()
    script = broken / "docker-compose"
    script.write_text(
        "#!/bin/sh\n"
        'case "$*" in *" up -d"*) ;; *) exec /usr/bin/docker-compose "$@";; esac\n'
        f"docker stop -t 1 {old} >/dev/null; docker rename {old} {old[:12]}_{project.name}\n"
        "echo 'ERROR: for engine: port is already allocated' >&2; exit 1\n"
    )
    script.chmod(0o755)
    done = await project.recreate(path=f"{broken}:/usr/local/bin:/usr/bin:/bin")
    assert isinstance(done, NotRecreated)
    assert done.reason == "compose: ERROR: for engine: port is already allocated; the old one is back"
    assert await project.id() == old
    assert await project.wrong(facts) == []


PLUGIN = """\
#!/bin/sh
# Does what compose 2 does to create a service anew, in its order, and ends before step {step}.
case "$*" in
  "version --short") echo 2.27.0; exit;;
  *"config --hash"*) echo engine abc; exit;;
  *"up --help") echo "  --pull string"; exit;;
esac
case "$*" in *" up -d --no-deps --force-recreate --no-build --pull never "*) ;; *) exit 9;; esac
old=$(docker inspect -f '{{{{.Id}}}}' {name})
temporary=$(echo $old | cut -c-12)_{name}
[ {step} = 0 ] && exit 1; docker create --name $temporary {options} >/dev/null
[ {step} = 1 ] && exit 1; docker stop -t 1 $old >/dev/null
[ {step} = 2 ] && exit 1; docker rm $old >/dev/null
[ {step} = 3 ] && exit 1; docker rename $temporary {name}
[ {step} = 4 ] && exit 1; docker start {name} >/dev/null
"""


@pytest.mark.parametrize("step", range(6))
async def test_the_order_of_the_plugin_ends_well_wherever_it_ends(
    docker: RealDocker, tmp_path: Path, step: int
) -> None:
    site = Site(tmp_path, docker.socket, docker.name("plugin"))
    labels = {
        "project": docker.name("plugin"), "service": "engine", "config-hash": "abc", "version": "2.27.0",
        "project.working_dir": str(tmp_path), "project.config_files": f"{tmp_path}/compose.yml",
    }  # fmt: skip
    pairs = [f"--label com.docker.compose.{key}={value}" for key, value in labels.items()]
    options = f"--init --network none -v {site.name}:/data {' '.join(pairs)} {docker.image} sleep 600"
    (tmp_path / "compose.yml").touch()
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "docker-compose"
    script.write_text(PLUGIN.format(step=step, name=site.name, options=options))
    script.chmod(0o755)
    old = await docker.docker("create", "--name", site.name, *options.split())
    await docker.docker("start", old)
    facts = await site.facts()
    try:
        done = await site.recreate(path=f"{tmp_path}/bin:/usr/local/bin:/usr/bin:/bin")
        assert await site.wrong(facts) == []
        assert (await site.id() == old) == (step < 3)
        assert isinstance(done, NotRecreated if step < 3 else Recreated), done
        if isinstance(done, Recreated):
            assert (done.way, done.notes) == ("compose", "")
    finally:
        await docker.docker("rm", "-f", site.name)
        await docker.docker("volume", "rm", site.name)
        await site.aclose()


async def test_a_cancellation_in_the_middle_of_compose_loses_nothing(project: Project) -> None:
    facts = await project.facts()
    for seconds in (0.3, 0.6, 0.9, 1.2):
        with anyio.move_on_after(seconds):
            await project.recreate()
        await project.recover()
        assert await project.wrong(facts) == []


async def test_an_engine_that_is_lost_after_compose_loses_nothing(project: Project) -> None:
    facts = await project.facts()
    for at in range(4):
        old = await project.id()
        faulty = Faulty(DockerActions(project.socket), at=at, how="before", kinds=("labelled", "describe"))
        with pytest.raises(Unavailable):
            await project.recreate(actions=faulty)
        await project.recover()
        assert await project.wrong(facts) == []
        assert await project.id() == old or at > 0


@short_and_long("rounds", 8, 24)
async def test_whatever_kills_a_daemon_whose_compose_is_at_work_one_container_has_the_name_and_runs(
    project: Project, rounds: int
) -> None:
    arguments = [str(project.folder), str(project.socket), project.name, "1", str(rounds)]
    command = [sys.executable, "-m", "tests.integration.recreate_scenario", *arguments]
    done = await anyio.run_process(command, check=False, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["wrong"] == []
    seen = Counter(told["seen"])
    assert seen["right"] == rounds
    assert seen["composing"], seen
