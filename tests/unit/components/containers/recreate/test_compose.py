"""Compose as a process: found by its version, bounded in time and output, ended when left over."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aiidpd.components.containers.recreate import compose as module
from aiidpd.components.containers.recreate.compose import MARK, Compose
from aiidpd.components.containers.recreate.faithful import Facts
from aiidpd.components.containers.recreate.project import ComposeService, find_service
from tests.fakes.container_actions import IMAGE, MemoryActions
from tests.waiting import until

PREFIX = "com.docker.compose."


class Tool:
    """A `docker-compose` of a test's own, and a service of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "compose.yml").touch()
        self.labels = {
            "project": "llm", "service": "engine", "config-hash": "abc", "version": "1.29.2",
            "project.working_dir": str(folder), "project.config_files": "compose.yml",
        }  # fmt: skip
        self.actions = MemoryActions()
        self.install()

    def install(self, *, up: str = "true", hash_: str = "echo engine abc", version: str = "1.29.2") -> None:
        path = self.folder / "bin" / "docker-compose"
        path.write_text(
            f'#!/bin/sh\ncase "$*" in "version --short") echo {version};; *"config --hash"*) {hash_};;\n'
            f'*"up --help") echo usage;; *) echo "$*" >> {self.folder}/calls; {up};; esac\n'
        )
        path.chmod(0o755)

    def compose(self, path: str = "") -> Compose:
        environment = {"PATH": path or f"{self.folder}/bin:/usr/bin:/bin", "SECRET": "x"}
        return Compose(self.folder / "d.sock", environment)

    @property
    def container(self) -> dict[str, Any]:
        labels = {PREFIX + key: value for key, value in self.labels.items()}
        return {"Image": IMAGE, "Config": {"Labels": labels}}

    @property
    def service(self) -> ComposeService:
        found, why = find_service(self.container)
        assert found is not None, why
        return found

    async def problem(self, tag: str = IMAGE, path: str = "") -> str:
        self.actions.containers.clear()
        self.actions.add("llm_engine_1", {"Labels": self.container["Config"]["Labels"]})
        facts = Facts(self.container, None, tag)
        return await self.compose(path).problem(self.service, facts, self.actions)


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool(tmp_path)


async def test_the_same_version_and_the_same_hash_are_no_problem(tool: Tool) -> None:
    assert await tool.problem() == ""
    tool.install(version="2.27.0")
    assert await tool.problem() == "no compose of version 1 is installed"
    tool.labels["version"] = "2.20.2"
    assert await tool.problem() == ""
    tool.labels["version"] = ""
    assert await tool.problem() == ""


async def test_each_reason_not_to_use_it_is_named(tool: Tool) -> None:
    assert await tool.problem("sha256:other") == "the name of its image leads to another image by now"
    assert await tool.problem(path="/nonexistent") == "no compose of version 1 is installed"
    tool.install(hash_="echo engine abd")
    assert await tool.problem() == "its compose file has changed since, and a heal brings no change"
    tool.install(hash_="echo 'yaml: line 3' >&2; exit 1")
    assert await tool.problem() == "compose does not accept its file: yaml: line 3"
    tool.install(hash_="echo 'bad value HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyzABCDEF01'; exit 1")
    assert "hf_abc" not in await tool.problem()
    (tool.folder / "compose.yml").unlink()
    assert await tool.problem() == f"{tool.folder}/compose.yml can't be read"
    (tool.folder / "compose.yml").mkdir()
    assert await tool.problem() == f"{tool.folder}/compose.yml can't be read"
    tool.labels["project.config_files"] = "/dev/null"
    tool.labels["config-hash"] = ""
    assert "can't be read" in await tool.problem(), "a device is no compose file"


async def test_it_is_called_with_nothing_of_our_environment_but_where_the_engine_is(tool: Tool) -> None:
    tool.install(up="env")
    done = await tool.compose().up(tool.service, 4.0, "a1")
    assert done.code == 0
    lines = dict(line.split("=", 1) for line in done.output.splitlines() if "=" in line)
    assert lines["DOCKER_HOST"] == f"unix://{tool.folder}/d.sock"
    assert lines[MARK] == "a1"
    assert "SECRET" not in lines
    (call,) = (tool.folder / "calls").read_text().splitlines()
    assert call.endswith("up -d --no-deps --force-recreate --no-build -t 4 -- engine")


async def test_much_that_it_prints_is_bounded_and_its_end_is_shown(tool: Tool) -> None:
    tool.install(up="yes no-such-thing | head -c 3000000; echo ERROR: the end; exit 3")
    done = await tool.compose().up(tool.service, 4.0, "a1")
    assert done.code == 3
    assert len(done.output) < 200_000
    assert done.words.endswith("ERROR: the end")
    assert len(done.words) <= 400


async def test_one_that_hangs_is_ended_with_all_that_it_started(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_UP_WITHIN", 0.3)
    tool.install(up=f"echo waiting; sleep 601 & echo $! > {tool.folder}/child; wait")
    done = await tool.compose().up(tool.service, 0.0, "a1")
    assert done.code is None
    assert done.words == "waiting it did not end within 0.3 s"
    child = int((tool.folder / "child").read_text())
    until(
        lambda: (
            not Path(f"/proc/{child}").exists() or "State:\tZ" in Path(f"/proc/{child}/status").read_text()
        )
    )


def marked(token: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "602"], env=os.environ | {MARK: token})


async def test_one_that_outlived_us_is_found_by_its_mark_and_no_other_is(tool: Tool) -> None:
    ours, other = marked("a1"), marked("a1b2")
    try:
        await tool.compose().end_left_over("a1")
        assert ours.wait(10) == -9
        assert other.poll() is None
    finally:
        for each in (ours, other):
            each.kill()
            each.wait()


async def test_one_that_can_not_be_started_is_said(tool: Tool) -> None:
    service = tool.service
    done = await tool.compose("/nonexistent").up(service, 0.0, "a1")
    assert (done.code, done.words) == (None, "it is not installed any more")
    (tool.folder / "bin" / "docker-compose").write_text("no program")
    assert await tool.problem(path=f"{tool.folder}/bin") == "no compose of version 1 is installed"
