"""The shipped stack on a real engine, started by the real docker-compose: hardened as it says, and at work.

Without a registry and a GPU images are stand-ins, but for llama-server and Prometheus, which are real ones.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from aiidpd.cli.main import main
from aiidpd.components.audit.declared import DeclaredServices
from aiidpd.components.audit.evaluate import of_container
from aiidpd.components.audit.facts import Facts
from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.docker.info import DockerInfo
from tests.fakes import llama as llama_model
from tests.fakes import stack_images
from tests.fakes.compose_lint import find_compose_lint
from tests.fakes.docker_engine import RealDocker
from tests.ports import free_port
from tests.stack import ETC, STACK, services, stack
from tests.waiting import PATIENCE, until

METRICS_GROUP = 4242
WRONG = "fedcba9876543210" * 4
LLAMA = {
    "llamacpp-cpu": "Llama-3.2-3B-Instruct-Q4_K_M.gguf",
    "llamacpp-70b": "Llama-3.3-70B-Instruct-Q4_K_M.gguf",
}
PROFILES = ("--profile", "expert", "--profile", "watch")
LOOPBACK_CLOSED = 28


def docker_compose(missing: Callable[[str, str], None]) -> str:
    found = shutil.which("docker-compose")
    if found is None:
        missing("compose", "apt-get install docker-compose")
    return str(found)


def for_an_older_prometheus() -> str:
    """Return the configuration without the Unix socket, which that of Debian can't scrape yet."""
    text = (ETC / "prometheus" / "stack.yml").read_text()
    assert text.count("unix:/run/aiidpd/metrics.sock") == 1
    return text.replace("unix:/run/aiidpd/metrics.sock", "127.0.0.1:9753")


@pytest.mark.real("compose")
def test_docker_compose_accepts_it(missing: Callable[[str, str], None]) -> None:
    command = [docker_compose(missing), "-f", str(STACK), *PROFILES, "config"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(yaml.safe_load(done.stdout)["services"]) == set(services())


def test_another_linter_finds_digests_and_what_is_so_on_purpose(missing: Callable[[str, str], None]) -> None:
    lint = find_compose_lint(missing)
    assert lint.find(STACK) == {name: {"CL-0019"} for name in services()}
    on_purpose = {name: {"CL-0013"} for name, each in services().items() if each.get("secrets")}
    assert lint.find(STACK, suppressed=True) == on_purpose | {"prometheus": {"CL-0013"}}


@pytest.mark.real("prometheus")
def test_promtool_accepts_the_configuration_of_prometheus(
    missing: Callable[[str, str], None], tmp_path: Path
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool", "apt-get install prometheus")
    config = tmp_path / "stack.yml"
    config.write_text(for_an_older_prometheus())
    command = [str(promtool), "check", "config", str(config)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True, slots=True)
class Running:
    """The stack, and the folder with its models, keys and sockets."""

    docker: RealDocker
    folder: Path
    ports: dict[str, int]

    def docker_do(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *arguments], check=False, capture_output=True, text=True, timeout=PATIENCE
        )

    def inside(self, service: str, script: str) -> subprocess.CompletedProcess[str]:
        return self.docker_do("exec", self.docker.name(service), "sh", "-c", script)

    def described(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.docker_do("inspect", self.docker.name(service)).stdout)[0]
        return found

    def health(self) -> dict[str, str]:
        return {
            name: self.docker_do(
                "inspect", "-f", "{{.State.Health.Status}}", self.docker.name(name)
            ).stdout.strip()
            for name in services()
        }

    @staticmethod
    def key_of(secret: str | dict[str, str]) -> str:
        """Return the name that `aiidpctl secrets` knows the key of ``secret`` by."""
        return Path(stack()["secrets"][secret if isinstance(secret, str) else secret["source"]]["file"]).stem

    def request(self, service: str, path: str, key: str = "", body: str = "") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[service], timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request("POST" if body else "GET", path, body=body or None, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, text


def with_stand_ins(
    docker: RealDocker, images: dict[str, str], folder: Path
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the stack with what this machine has in place of images, models, GPU and processors."""
    document = stack()
    ports: dict[str, int] = {}
    for name, service in document["services"].items():
        service["container_name"] = docker.name(name)
        service["image"] = images[kind_of(name)]
        service.pop("deploy", None)  # no GPU is here
        service["cpus"] = min(float(service["cpus"]), float(os.cpu_count() or 1))
        inside = service["ports"][0].rpartition(":")[2]
        ports[name] = free_port()
        service["ports"] = [f"127.0.0.1:{ports[name]}:{inside}"]
        if kind_of(name) == "stand-in":
            service["entrypoint"] = ["busybox", "httpd", "-f", "-p", inside, "-h", "/www"]
            service["command"] = []
        for each in service["volumes"]:
            if each["source"] == "../prometheus":
                each["source"] = str(folder / "prometheus")
            elif each["source"].startswith("."):
                each["source"] = str((STACK.parent / each["source"]).resolve())
            elif each["source"] in ("/srv/models", "/run/aiidpd"):
                each["source"] = str(folder / Path(each["source"]).name)
    for each in document["secrets"].values():
        each["file"] = str(folder / "secrets" / Path(each["file"]).name)
    return document, ports


def kind_of(service: str) -> str:
    """Return the name of the image that is in the place of that of ``service``."""
    return "llama" if service in LLAMA else service if service == "prometheus" else "stand-in"


def make_files(folder: Path) -> None:
    """Make models, keys as docs/stack.md says, and what has the rights of aiidpd's sockets."""
    for name in ("models", "aiidpd"):
        (folder / name).mkdir()
    for name in LLAMA.values():
        llama_model.make_model(folder / "models" / name)
    for service in services().values():
        for each in service.get("secrets", ()):
            file = Path(stack()["secrets"][each if isinstance(each, str) else each["source"]]["file"])
            words = ["generate", file.stem, "--owner", service["user"], "--folder", str(folder / "secrets")]
            kind = ["--format", "llamacpp"] if file.suffix == ".keys" else []
            assert main(["secrets", *words, *kind]) == 0
    shutil.copytree(ETC / "prometheus", folder / "prometheus")
    (folder / "prometheus" / "stack.yml").write_text(for_an_older_prometheus())
    for name, group in (("metrics.sock", METRICS_GROUP), ("control.sock", 0)):
        path = folder / "aiidpd" / name
        path.touch()  # rights of a file are those of a socket
        path.chmod(0o660)
        os.chown(path, 0, group)


@pytest.fixture(scope="module")
def running(
    docker: RealDocker, missing: Callable[[str, str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    server, busybox = llama_model.find_server(), shutil.which("busybox")
    if server is None:
        missing("llama-server", llama_model.HOW_TO_GET)
    if os.geteuid():
        missing("root", "files are given to the users of the containers")
    folder = tmp_path_factory.mktemp("stack")
    program, project = docker_compose(missing), docker.name("stack")
    watcher = shutil.which("prometheus")
    if watcher is None:
        missing("prometheus", "apt-get install prometheus")
    images = {name: f"{docker.image}-{name}" for name in ("stand-in", "llama", "prometheus")}
    roots = {
        "prometheus": stack_images.prometheus(Path(str(busybox)), Path(str(watcher))),
        "stand-in": stack_images.stand_in(Path(str(busybox))),
        "llama": stack_images.llama(Path(str(busybox)), Path(str(server))),
    }
    for name, image in images.items():
        entry = ["--change", 'ENTRYPOINT ["/bin/prometheus"]'] if name == "prometheus" else []
        command = ["docker", "import", "--change", "ENV LD_LIBRARY_PATH=/app", *entry, "-", image]
        subprocess.run(command, input=roots[name], check=True, capture_output=True)
    make_files(folder)
    document, ports = with_stand_ins(docker, images, folder)
    file = folder / "docker-compose.yml"
    file.write_text(yaml.safe_dump(document))
    environment = {"PATH": os.environ["PATH"], "HOME": "/root", "AIIDPD_METRICS_GID": str(METRICS_GROUP)}

    def compose(*arguments: str) -> None:
        command = [program, "-f", str(file), "-p", project, *PROFILES, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr

    found = Running(docker, folder, ports)
    try:
        compose("up", "-d")
        until(
            lambda: set(found.health().values()) == {"healthy"},
            2 * PATIENCE,
            why=lambda: (
                f"{found.health()} {[found.docker_do('logs', docker.name(each)) for each in services()]}"
            ),
        )
        yield found
    finally:
        compose("down", "-v", "-t", "0")
        subprocess.run(["docker", "rmi", "-f", *images.values()], check=True, capture_output=True)


REAL = tuple(pytest.mark.real(part) for part in ("docker", "compose", "llama", "prometheus"))


def real(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test that needs an engine, docker-compose, a llama-server and a Prometheus."""
    for mark in REAL:
        test = mark(test)
    return test


@real
@pytest.mark.parametrize("service", services())
def test_every_service_runs_without_rights_and_writes_to_its_tmpfs_alone(
    running: Running, service: str
) -> None:
    status = running.inside(service, "cat /proc/1/status /proc/self/status").stdout
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    user, group = services()[service]["user"].split(":")
    assert lines["Uid"].split() == [user] * 4
    assert lines["Gid"].split() == [group] * 4
    assert (lines["NoNewPrivs"].strip(), lines["Seccomp"].strip()) == ("1", "2")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(lines[name], 16) == 0, name
    assert "Read-only" in running.inside(service, "touch /x /bin/x").stderr
    script = "cp /bin/busybox /tmp/busybox && chmod 755 /tmp/busybox && /tmp/busybox true"
    done = running.inside(service, script)
    assert done.returncode == 126, done
    assert "Permission denied" in done.stderr
    mounts = running.inside(service, "cat /proc/mounts").stdout
    (tmpfs,) = [line for line in mounts.splitlines() if line.split()[1] == "/tmp"]
    assert {"nosuid", "nodev", "noexec"} <= set(tmpfs.split()[3].split(","))
    assert "size=" in tmpfs
    assert (
        running.inside(service, "grep -c . /proc/sys/kernel/core_pattern; ulimit -H -c").stdout.split()[1]
        == "0"
    )


@real
async def test_the_audit_of_what_runs_finds_what_is_of_the_stand_ins_and_of_the_engine(
    running: Running,
) -> None:
    runtime, info = DockerRuntime(running.docker.socket), DockerInfo(running.docker.socket)
    try:
        engine = await info.read()
        readings = {}
        for name in services():
            identity = await runtime.find(running.docker.name(name))
            assert identity is not None
            reading = await runtime.container(identity)
            assert reading is not None
            assert reading.inspection is not None
            readings[name] = reading.inspection
    finally:
        await runtime.aclose()
        await info.aclose()
    declared = await anyio.to_thread.run_sync(DeclaredServices().find, list(readings.values()))
    assert len(declared) == len(readings)
    assert all(each.service is not None for each in declared.values()), declared
    facts = Facts(engine=engine, gpus=1, model_folders=(str(running.folder / "models"),), declared=declared)
    expected = {"image-unpinned"}  # what is made on the spot comes from no registry
    if engine.major is not None and engine.major < LOOPBACK_CLOSED:
        expected.add("port-loopback-leak")
    found = {name: {each.rule for each in of_container(each, facts)} for name, each in readings.items()}
    assert found == dict.fromkeys(readings, expected)


@real
def test_keys_are_for_their_server_alone_and_in_no_description(running: Running) -> None:
    keys = {each.stem: each.read_text().strip() for each in (running.folder / "secrets").glob("*.key")}
    assert len(keys) == len(stack()["secrets"])
    for name, service in services().items():
        shown = json.dumps(running.described(name)) + running.inside(name, "env").stdout
        shown += running.inside(name, "cat /proc/1/cmdline").stdout
        assert not any(key in shown for key in keys.values())
        for each in service.get("secrets", ()):
            path = f"/run/secrets/{each if isinstance(each, str) else each['target']}"
            assert keys[running.key_of(each)] in running.inside(name, f"cat {path}").stdout
            assert "Read-only" in running.inside(name, f"touch {path}").stderr
    assert running.inside("prometheus", "test -e /run/secrets").returncode


@real
@pytest.mark.parametrize("service", LLAMA)
def test_a_real_llama_server_works_so_and_refuses_who_has_no_key(running: Running, service: str) -> None:
    assert running.request(service, "/health")[0] == 200
    key = (
        running.folder / "secrets" / f"{running.key_of(services()[service]['secrets'][0])}.key"
    ).read_text()
    question = json.dumps({"prompt": "Once", "n_predict": 4})
    for path, body in (("/completion", question), ("/props", ""), ("/slots", ""), ("/metrics", "")):
        assert running.request(service, path, body=body)[0] == 401, path
        assert running.request(service, path, key=WRONG, body=body)[0] == 401, path
        assert running.request(service, path, key=key.strip(), body=body)[0] == 200, path
    answer = json.loads(running.request(service, "/completion", key=key.strip(), body=question)[1])
    assert answer["tokens_predicted"] == 4


@real
def test_vllm_may_load_what_it_compiled_from_its_volume(running: Running) -> None:
    home = "/home/vllm/.cache/busybox"
    script = (
        f"busybox mkdir -p /home/vllm/.cache && cp /bin/busybox {home} && chmod 755 {home} && {home} true"
    )
    done = running.inside("vllm-gpu", script)
    assert done.returncode == 0, done.stderr


@real
def test_prometheus_may_read_the_metrics_and_not_the_control_socket(running: Running) -> None:
    assert running.inside("prometheus", "test -w /run/aiidpd/metrics.sock").returncode == 0
    assert running.inside("prometheus", "test -w /run/aiidpd/control.sock").returncode == 1
    assert running.inside("alertmanager", "test -e /run/aiidpd").returncode == 1


@real
def test_a_real_prometheus_works_so_and_scrapes(running: Running) -> None:
    query = "/api/v1/query?query=up"

    def up() -> dict[str, str]:
        found = json.loads(running.request("prometheus", query)[1])["data"]["result"]
        return {each["metric"]["job"]: each["value"][1] for each in found}

    until(lambda: len(up()) == 3)
    assert up() == {
        "prometheus": "1",
        "aiidpd": "0",
        "alertmanager": "0",
    }  # neither of these two is a real one
