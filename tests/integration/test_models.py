"""A real daemon beside a real llama-server in a real container: its model, by mounts, page and /proc."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aiidpd.api.client import ControlClient, DaemonUnreachable
from tests.daemon import Daemon, running
from tests.fakes.docker_engine import RealDocker
from tests.fakes.llama_container import LlamaContainers
from tests.unit.components.models.signing import make_key, sign
from tests.unit.components.models.site import folder_model, gguf
from tests.waiting import until

AIIDPCTL = Path(sys.executable).parent / "aiidpctl"
MAPS = (
    "import mmap, sys\nwith open(sys.argv[1], 'rb') as f:\n"
    " m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\nprint(flush=True); sys.stdin.read()"
)


def model(daemon: Daemon, name: str) -> dict[str, Any]:
    """Return what the daemon knows of a model; nothing where it does not know it yet."""
    try:
        with ControlClient(str(daemon.folder / "run" / "control.sock")) as client:
            models = client.get("/v1/models")["models"]
    except DaemonUnreachable:
        return {}
    return next((each for each in models if each["name"] == name), {})


def command(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = [AIIDPCTL, "--socket", daemon.folder / "run/control.sock", "models", *arguments]
    return subprocess.run(list(map(str, given)), capture_output=True, text=True, check=False)


def kinds(daemon: Daemon, name: str) -> set[tuple[str, str]]:
    return {(use["kind"], use["container"]) for use in model(daemon, name).get("uses", ())}


def test_a_signature_is_verified_by_the_command_and_a_mismatch_is_remembered(tmp_path: Path) -> None:
    models = tmp_path / "more"
    folder_model(models / "llama")
    key = make_key(tmp_path / "keys")
    sign(models / "llama", models / "llama" / "model.sig", key)
    settings = {
        "AIIDPD_MODELS__FOLDERS": f'["{models}"]',
        "AIIDPD_MODELS__SIGNERS": f'[{{name = "vendor", public_key = "{key.public}"}}]',
    }
    with running(tmp_path, settings) as daemon:
        until(lambda: model(daemon, "llama"))
        assert model(daemon, "llama")["signature"]["state"] == "unverified"
        assert "signed, not verified: llama" in command(daemon, "list").stdout
        found = command(daemon, "verify", "llama", "--signature")
        assert (found.returncode, "the signature is valid, by vendor" in found.stdout) == (0, True)
        (models / "llama" / "evil.py").write_text("x")
        found = command(daemon, "verify", "llama")
        assert (found.returncode, "there, and not signed: evil.py" in found.stderr) == (1, True)
    with running(tmp_path, settings) as daemon:
        until(lambda: model(daemon, "llama"))
        assert model(daemon, "llama")["signature"]["state"] == "invalid"
        with ControlClient(str(daemon.folder / "run" / "control.sock")) as client:
            active = {each["type"] for each in client.get("/v1/status")["conditions"]}
        assert "model_signature_wrong" in active
        assert 'aiidpd_models_signatures{state="invalid"} 1' in daemon.exposition()


def test_a_process_that_has_a_model_open_is_named_and_rot_is_found(tmp_path: Path) -> None:
    models = tmp_path / "more"
    gguf(models / "tiny.gguf")
    folder_model(models / "llama")
    child = subprocess.Popen(
        [sys.executable, "-c", MAPS, models / "tiny.gguf"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        with running(tmp_path, {"AIIDPD_MODELS__FOLDERS": f'["{models}"]'}) as daemon:
            until(lambda: model(daemon, "tiny"))
            (use,) = model(daemon, "tiny")["uses"]
            assert (use["kind"], use["pid"]) == ("open", child.pid)
            assert model(daemon, "llama")["uses"] == []
            assert command(daemon, "verify", "llama").returncode == 0
            weights = models / "llama" / "model.safetensors"
            stat = weights.stat()
            with weights.open("r+b") as file:
                file.seek(600_000)
                file.write(b"rot")
            os.utime(weights, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
            found = command(daemon, "verify", "llama")
            assert found.returncode == 1
            assert str(weights) in found.stderr
            with ControlClient(str(daemon.folder / "run" / "control.sock")) as client:
                active = {each["type"] for each in client.get("/v1/status")["conditions"]}
            assert "model_content_wrong" in active
            assert "aiidpd_models_damaged 1" in daemon.exposition()
        with running(tmp_path, {"AIIDPD_MODELS__FOLDERS": f'["{models}"]'}) as daemon:  # it is remembered
            until(lambda: model(daemon, "llama"))
            assert model(daemon, "llama")["problems"][0]["damage"] == "hash"
            assert model(daemon, "tiny")["last_used_by"] == f"{use['program']} ({child.pid})"
    finally:
        child.communicate()


@pytest.mark.real("docker")
@pytest.mark.real("llama")
def test_a_server_in_a_container_has_its_model_loaded(
    llama_containers: LlamaContainers, docker: RealDocker, tmp_path: Path
) -> None:
    served = llama_containers.run("models-served")
    folder = llama_containers._folder
    gguf(folder / "other.gguf", seed=3)
    real = {
        "AIIDPD_MODELS__FOLDERS": f'["{folder}"]',
        "AIIDPD_CONTAINERS__ENGINE": "docker",
        "AIIDPD_CONTAINERS__SOCKET": str(docker.socket),
        "AIIDPD_ENGINES__INTERVAL": "1s",
    }
    with running(tmp_path, real) as daemon:

        def why() -> str:
            return f"{(tmp_path / 'log').read_text()[-2000:]}\n{model(daemon, 'tiny')}"

        until(lambda: model(daemon, "tiny"), why=why)

        def loaded() -> bool:
            command(daemon, "scan")
            return ("loaded", served.name) in kinds(daemon, "tiny")

        until(loaded, why=why)
        assert ("mounted", served.name) in kinds(daemon, "other")
        assert model(daemon, "tiny")["last_used_by"].startswith("engine ")
        assert model(daemon, "other")["last_used_at"] is None
