"""Machine behind a server: given, named, or measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiidpd.components.bench.accept import machine
from aiidpd.components.bench.accept.machine import Given, UnknownGpu, machine_of
from aiidpd.physics.efficiency import GENERAL
from aiidpd.platform import ram_bandwidth
from aiidpd.platform.ram_bandwidth import NotMeasured, RamBandwidth
from tests.fakes.scripted_daemon import Scripted


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_GPU_FILES", ())
    monkeypatch.setattr(machine, "_DRIVER", tmp_path / "absent")
    monkeypatch.setattr(ram_bandwidth, "measure", lambda: RamBandwidth(22e9, 2, 2**28))


def test_what_a_person_gives_counts_and_is_no_assumption():
    given = Given(weights=8e9, parameters=8.03e9, gpu="RTX 5070 Ti")
    found = machine_of(given, {"weights": 1.0}, None, local=True)
    assert (found.bandwidth, found.weights, found.stated) == (896e9, 8e9, True)
    assert found.flops == pytest.approx(87.9e12)
    by_numbers = machine_of(Given(weights=2e9, bandwidth=102.4e9), {}, None, local=False)
    assert (by_numbers.bandwidth, by_numbers.flops, by_numbers.efficiency) == (102.4e9, None, GENERAL)


def test_what_the_server_says_of_its_model_is_an_assumption_and_the_ram_is_measured():
    found = machine_of(Given(), {"weights": 2e9, "parameters": 3e9}, None, local=True)
    assert (found.bandwidth, found.weights, found.parameters, found.stated) == (22e9, 2e9, 3e9, False)
    assert found.notes == (
        "weights: 2 GB; all weights are read for each token, by the server's list of models",
        "memory: 22 GB/s of the RAM, measured now",
    )


def test_the_daemon_names_the_gpu():
    gpu = {"name": "NVIDIA GeForce RTX 5070 Ti"}
    found = machine_of(Given(weights=8e9), {}, Scripted(gpu), local=True)
    assert (found.bandwidth, found.stated) == (896e9, True)
    assert "as the daemon names it" in found.notes[0]
    assert not machine_of(Given(), {"weights": 8e9}, Scripted(gpu), local=True).stated
    assert not machine_of(Given(weights=8e9), {}, Scripted(gpu, gpu), local=True).stated
    unknown = machine_of(Given(weights=8e9), {}, Scripted({"name": "Abacus 9"}), local=True)
    assert "give --gpu or --bandwidth" in unknown.reason
    simulated = machine_of(Given(weights=8e9), {}, Scripted(gpu, simulated=True), local=True)
    assert simulated.bandwidth == 22e9


def test_without_a_daemon_the_driver_names_the_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for place in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "information").write_text("Model: \t\t NVIDIA GeForce RTX 5070 Ti\nIRQ: 3\n")
    monkeypatch.setattr(machine, "_DRIVER", tmp_path)
    found = machine_of(Given(weights=8e9), {}, None, local=True)
    assert (found.bandwidth, found.stated) == (896e9, False)
    assert found.notes == ("memory: 896 GB/s of RTX 5070 Ti, the first of 2, as its driver names it",)


def test_what_can_t_be_known_says_what_to_give(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert "give --weights" in machine_of(Given(), {}, None, local=True).reason
    elsewhere = machine_of(Given(weights=8e9), {}, None, local=False)
    assert elsewhere.reason == "the server is on another machine: give --gpu or --bandwidth"
    monkeypatch.setattr(machine, "_GPU_FILES", (tmp_path,))
    assert "nothing that names it" in machine_of(Given(weights=8e9), {}, None, local=True).reason
    monkeypatch.setattr(machine, "_GPU_FILES", ())

    def fails() -> RamBandwidth:
        raise NotMeasured("no memory for it")

    monkeypatch.setattr(ram_bandwidth, "measure", fails)
    assert "(no memory for it)" in machine_of(Given(weights=8e9), {}, None, local=True).reason


def test_a_name_that_is_no_gpu_is_refused():
    with pytest.raises(UnknownGpu, match="Abacus"):
        machine_of(Given(weights=8e9, gpu="Abacus 9"), {}, None, local=True)
