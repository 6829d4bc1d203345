"""Containers that docker-compose really made, beside their file: as it says, and otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from aiidpd.components.audit.declared import DeclaredServices
from aiidpd.components.audit.evaluate import of_container
from aiidpd.components.audit.facts import Facts
from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.contracts.inspections import Inspection
from tests.fakes.docker_engine import RealDocker

pytestmark = [pytest.mark.real("docker"), pytest.mark.real("compose")]
FILE = """\
version: "3.8"
x-hardened: &hardened
  read_only: true
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
services:
  engine:
    <<: *hardened
    container_name: {name}
    image: {image}
    command: ["sleep", "600"]
    user: "1000:1000"
    mem_limit: 64m
    pids_limit: 64
    restart: "on-failure:5"
    ports: ["127.0.0.1::8000", "9000"]
    cap_add: [CAP_NET_BIND_SERVICE]
    volumes: ["./models:/models:ro"]
    tmpfs: ["/tmp:size=1m"]
    environment: {{A: "1"}}
"""


@pytest.fixture
def compose(missing: Callable[[str, str], None]) -> str:
    found = shutil.which("docker-compose")
    if found is None:
        missing("docker-compose", "apt-get install docker-compose")
    return str(found)


async def drifted(name: str) -> list[str]:
    """Return the findings of drift about the container ``name``."""
    runtime = DockerRuntime("/var/run/docker.sock")
    try:
        identity = await runtime.find(name)
        assert identity is not None
        reading = await runtime.container(identity)
    finally:
        await runtime.aclose()
    assert reading is not None
    found = reading.inspection
    assert isinstance(found, Inspection)
    facts = Facts(declared=DeclaredServices().find([found]))
    assert set(facts.declared) == {found.id}
    return [each.what for each in of_container(found, facts) if each.rule.startswith("drift")]


async def test_a_container_is_as_its_file_says_until_one_of_them_changes(
    docker: RealDocker, compose: str, tmp_path: Path
):
    name = docker.name("drift")
    file = tmp_path / "docker-compose.yml"
    text = FILE.format(name=name, image=docker.image)
    file.write_text(text)
    await anyio.run_process([compose, "-f", str(file), "up", "-d"], cwd=tmp_path)
    try:
        assert await drifted(name) == []
        await docker.docker("stop", "-t", "0", name)
        assert await drifted(name) == []
        await docker.docker("start", name)
        await docker.docker("update", "--memory", "32m", "--memory-swap", "32m", "--restart", "always", name)
        assert await drifted(name) == [f"it differs from {file} in mem_limit, restart"]
        file.write_text(text.replace("read_only: true", "read_only: false"))
        assert await drifted(name) == [f"it differs from {file} in read_only, mem_limit, restart"]
        file.write_text(text.replace("  engine:", "  other:"))
        assert await drifted(name) == [f"{file} has no service for it"]
    finally:
        file.write_text(text)
        await anyio.run_process([compose, "-f", str(file), "down", "-t", "0"], cwd=tmp_path, check=False)
