"""The mutation corpus on the real engine: containers really created so, and otherwise."""

from __future__ import annotations

import json

import pytest

from aiidpd.components.audit.evaluate import of_container
from aiidpd.components.audit.facts import Facts
from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.docker.info import DockerInfo
from aiidpd.contracts.inspections import Inspection
from tests.fakes.docker_engine import RealDocker
from tests.unit.components.audit.corpus import CASES, Case

pytestmark = pytest.mark.real("docker")
OF_THE_IMAGE = {"image-unpinned"}  # what is made on the spot comes from no registry


async def created(docker: RealDocker, case: Case) -> Inspection:
    """Create the container of ``case`` and return what the daemon would know of it."""
    name = docker.name(f"audit-{case.name}")
    await docker.docker("create", "--name", name, *case.arguments(), docker.image, *case.command)
    runtime = DockerRuntime(docker.socket)
    try:
        identity = await runtime.find(name)
        assert identity is not None
        reading = await runtime.container(identity)
        assert reading is not None
        assert reading.inspection is not None
        return reading.inspection
    finally:
        await runtime.aclose()
        await docker.docker("rm", "-f", name)


async def test_every_rule_finds_what_was_really_created_so_and_nothing_else(docker: RealDocker):
    info = DockerInfo(docker.socket)
    try:
        facts = Facts(engine=await info.read(), gpus=1)
    finally:
        await info.aclose()
    assert facts.engine is not None
    assert facts.engine.major is not None
    wrong = {}
    for case in (each for each in CASES if each.real):
        found = {each.rule for each in of_container(await created(docker, case), facts)} - OF_THE_IMAGE
        expected = case.rules
        if facts.engine.major >= 28:
            expected -= {"port-loopback-leak"}
        if found != expected:
            wrong[case.name] = (sorted(found), sorted(expected))
    assert wrong == {}


async def test_a_container_that_runs_is_judged_by_the_ports_that_it_got(docker: RealDocker):
    name = docker.name("audit-ports")
    options = ("--name", name, "--init", "-p", "127.0.0.1::80", "-p", "81")
    await docker.docker("run", "-d", *options, docker.image, "sleep", "600")
    runtime = DockerRuntime(docker.socket)
    try:
        found = await runtime.find(name)
        assert found is not None
        reading = await runtime.container(found)
        assert reading is not None
        assert reading.inspection is not None
        ports = {each.port: each for each in reading.inspection.ports if each.host_ip != "::"}
        shown = json.loads(await docker.docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", name))
        assert ports[80].host_ip == "127.0.0.1"
        assert str(ports[80].host_port) == shown["80/tcp"][0]["HostPort"]
        assert ports[81].host_ip in ("", "0.0.0.0")
        rules = {each.rule: each for each in of_container(reading.inspection, Facts())}
        assert "81" in rules["port-everywhere"].what
    finally:
        await runtime.aclose()
        await docker.docker("rm", "-f", name)
