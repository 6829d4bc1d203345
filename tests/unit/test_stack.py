"""The shipped stack: its sizes are those that the product computes, its words those that it understands."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from aiidpd.cli.main import main
from aiidpd.components.audit.compose.facts import facts_of
from aiidpd.components.audit.compose.services import load
from aiidpd.components.audit.tool import compose, pin
from aiidpd.components.containers.heal.policy import HealMode, policy_of
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.settings import HealSettings
from aiidpd.config.units import parse_duration
from aiidpd.engines.all import profile_named
from tests.stack import ETC, SECRETS, STACK, gib, options, remarks, services, shown_commands, stack

NOWHERE = ("--socket", "/nonexistent/control.sock")
GPU_GIB = 15.47  # what a GPU of 16 GB lets CUDA have
CUDA_GIB = 0.5  # a context of CUDA, of each process
RAM_GIB = 128
PROCESSORS = 24
SERVICES = services()
SERVERS = ("vllm-gpu", "llamacpp-cpu", "llamacpp-70b")
LENGTH = 8192
Run = Callable[..., Any]


@pytest.fixture
def computed(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command of aiidpctl as a remark shows it, and returns its document."""

    def run(words: list[str], **more: str) -> Any:
        added = [part for name, value in more.items() for part in (f"--{name.replace('_', '-')}", value)]
        assert main([*NOWHERE, *words, *added, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def option(service: str) -> dict[str, str]:
    return options(SERVICES[service]["command"])


def left_for_the_expert(utilization: float) -> float:
    """Return the GiB of the GPU that vllm-gpu leaves, less a context, to two places."""
    return math.floor((GPU_GIB * (1 - utilization) - CUDA_GIB) * 100) / 100


def test_vllm_takes_what_fits(computed: Run) -> None:
    (command,) = shown_commands("vllm-gpu")
    given, asked = option("vllm-gpu"), options(command)
    assert asked["--utilization"] == given["--gpu-memory-utilization"]
    assert gib(asked["--memory"]) == GPU_GIB
    found = computed(command)["sequences"]
    assert given["--max-model-len"] == str(LENGTH)
    assert given["--max-num-seqs"] == str(found["1024"])
    assert f"{found['8192']} of 8192 tokens, or {found['1024']} of 1024," in remarks("vllm-gpu")
    assert found["8192"] >= 1


def test_the_small_model_has_a_whole_context_for_each_of_its_slots(computed: Run) -> None:
    (command,) = shown_commands("llamacpp-cpu")
    given = option("llamacpp-cpu")
    assert gib(options(command)["--memory"]) == gib(SERVICES["llamacpp-cpu"]["mem_limit"])
    slots = computed(command)["sequences"][str(LENGTH)]
    assert given["--parallel"] == str(slots)
    assert given["--ctx-size"] == str(slots * LENGTH)


def test_the_large_model_fits_beside_the_other_and_no_layer_more_does(computed: Run) -> None:
    on_gpu, in_ram = shown_commands("llamacpp-70b")
    given, asked = option("llamacpp-70b"), options(on_gpu)
    utilization = float(option("vllm-gpu")["--gpu-memory-utilization"])
    assert gib(asked["--memory"]) == left_for_the_expert(utilization)
    assert gib(asked["--memory"]) + CUDA_GIB + utilization * GPU_GIB <= GPU_GIB
    layers = int(given["--n-gpu-layers"])
    assert asked["--offload-layers"] == str(layers)
    need = int(given["--parallel"])
    assert given["--ctx-size"] == str(need * LENGTH)
    assert computed(on_gpu)["sequences"][str(LENGTH)] >= need
    assert computed(on_gpu, offload_layers=str(layers + 1))["sequences"][str(LENGTH)] < need
    assert gib(options(in_ram)["--memory"]) == gib(SERVICES["llamacpp-70b"]["mem_limit"])
    assert computed(in_ram)["sequences"][str(LENGTH)] == need


def test_the_large_model_alone_is_told_rightly(computed: Run) -> None:
    on_gpu, _ = shown_commands("llamacpp-70b")
    alone = {"memory": f"{GPU_GIB - CUDA_GIB:.2f}GiB"}
    text = remarks("llamacpp-70b")
    assert "26 layers fit (--memory 14.97GiB --offload-layers 26)" in text
    assert computed(on_gpu, **alone, offload_layers="26")["sequences"][str(LENGTH)] >= 1
    assert computed(on_gpu, **alone, offload_layers="27")["sequences"][str(LENGTH)] == 0
    shape = ["--weights", "42.52GB", "--layers", "80", "--gpu", "RTX 5070 Ti", "--ram-bandwidth", "102.4GB/s"]
    beside, single = (
        computed(["physics", "estimate", *shape, "--offload-layers", count])["decode_expected_tok_s"]
        for count in ("2", "26")
    )
    assert "and it is a third faster" in text
    assert single / beside == pytest.approx(4 / 3, abs=0.1)


def test_limits_leave_room_for_the_machine() -> None:
    assert sum(gib(each["mem_limit"]) for each in SERVICES.values()) <= 0.75 * RAM_GIB
    assert sum(float(SERVICES[name]["cpus"]) for name in SERVERS) < PROCESSORS
    for name, service in SERVICES.items():
        assert service["memswap_limit"] == service["mem_limit"], f"{name} may swap"
        threads = options(service.get("command", [])).get("--threads")
        assert threads in (None, str(service["cpus"])), f"{name} has other threads than processors"


def test_our_own_audit_finds_digests_and_nothing_else() -> None:
    found = {(each["subject"], each["rule"]) for each in compose({"files": [str(STACK)]})["findings"]}
    assert found == {(name, "image-unpinned") for name in SERVICES}


def test_no_digest_stands_that_was_not_read_and_with_those_that_were_nothing_is_found(
    tmp_path: Path,
) -> None:
    before = STACK.read_text()
    assert "sha256:" not in before
    file = tmp_path / STACK.name
    file.write_text(before)

    def describe(image: str) -> dict[str, Any]:
        return {"RepoDigests": [f"{image.rpartition(':')[0]}@sha256:{'a' * 64}"]}

    request = {"file": str(file), "apply": True, "engine": ""}
    assert len(pin(request, describe)["applied"]) == len(SERVICES)
    assert file.read_text().replace(f"@sha256:{'a' * 64}", "") == before
    assert compose({"files": [str(file)]})["findings"] == []


def test_ports_are_on_loopback_and_servers_where_the_issue_of_them_is() -> None:
    project = load([STACK])
    ports = {}
    for name, service in project.services.items():
        for each in facts_of(name, service.value, str(STACK.parent), project.volumes).ports:
            assert each.host_ip == "127.0.0.1"
            ports[name] = each.host_port
    assert {name: ports[name] for name in SERVERS} == {
        "vllm-gpu": 8000,
        "llamacpp-cpu": 8001,
        "llamacpp-70b": 8002,
    }
    assert len(set(ports.values())) == len(SERVICES)


def test_profiles_are_those_that_the_page_names() -> None:
    found = {name: each.get("profiles") for name, each in SERVICES.items()}
    assert found == {
        "vllm-gpu": None,
        "llamacpp-cpu": None,
        "llamacpp-70b": ["expert"],
        "prometheus": ["watch"],
        "alertmanager": ["watch"],
        "grafana": ["watch"],
    }


@pytest.mark.parametrize("name", SERVICES)
def test_what_aiidpd_reads_of_a_service_is_understood(name: str) -> None:
    service = SERVICES[name]
    labels = {key: str(value) for key, value in service["labels"].items()}
    policy = policy_of(ContainerReading("0" * 64, name, "image", "running", labels=labels), HealSettings())
    assert policy.problems == ()
    gpu = "deploy" in service
    assert policy.mode == (HealMode.RECREATE if gpu else HealMode.RESTART)
    assert policy.grace >= parse_duration(service["healthcheck"]["start_period"])
    if name in SERVERS:
        assert profile_named(labels["aiidpd.engine"]) is not None
        assert f":{labels['aiidpd.engine.port']}" in service["ports"][0].removeprefix("127.0.0.1:")


def test_keys_are_files_of_aiidpctl_secrets_and_are_each_used() -> None:
    declared = {name: each["file"] for name, each in stack()["secrets"].items()}
    used = {
        each if isinstance(each, str) else each["source"]
        for service in SERVICES.values()
        for each in service.get("secrets", ())
    }
    assert used == set(declared)
    assert len(set(declared.values())) == len(declared)
    assert all(path.startswith(SECRETS) for path in declared.values())
    kinds = {"vllm-keys": ".yaml", "llamacpp-cpu-keys": ".keys", "llamacpp-70b-keys": ".keys"}
    for name, path in declared.items():
        assert PurePosixPath(path).suffix == kinds.get(name, ".key")
    for name, flag in (
        ("vllm-gpu", "--config"),
        ("llamacpp-cpu", "--api-key-file"),
        ("llamacpp-70b", "--api-key-file"),
    ):
        (mounted,) = SERVICES[name]["secrets"]
        assert option(name)[flag] == f"/run/secrets/{mounted['target']}"


def test_what_is_mounted_from_beside_the_file_is_there() -> None:
    for service in SERVICES.values():
        for each in service["volumes"]:
            if each["source"].startswith("."):
                assert (STACK.parent / each["source"]).is_dir()
    config = yaml.safe_load((ETC / "prometheus" / "stack.yml").read_text())
    assert "--config.file=/etc/prometheus/stack.yml" in SERVICES["prometheus"]["command"]
    targets = {each["job_name"]: each["static_configs"][0]["targets"] for each in config["scrape_configs"]}
    assert targets["aiidpd"] == ["unix:/run/aiidpd/metrics.sock"]
    (source,) = yaml.safe_load((ETC / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
