"""This machine's GPU and measurements, as a daemon's documents have them."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

from aiidpd.api.client import ControlClient, DaemonUnreachable
from aiidpd.cli.session import Session
from aiidpd.cli.text import Paint
from aiidpd.components.physics import cli_claims, cli_estimate
from aiidpd.components.physics.catalog import read_hardware
from aiidpd.components.physics.given import BadInput, GivenDevice, given_device

KNOWN = read_hardware()


class Documents(ControlClient):
    """A client whose daemon answers with these documents, and is not reachable for any other."""

    def __init__(self, documents: dict[str, Any]) -> None:
        super().__init__("/nonexistent")
        self.documents = documents

    def get(self, path: str, **_query: Any) -> Any:
        if path not in self.documents:
            raise DaemonUnreachable("nobody answers")
        return self.documents[path]


def session(documents: dict[str, Any]) -> Session:
    return Session(Documents(documents), True, io.StringIO(), io.StringIO(), Paint())


def device(*gpus: dict[str, Any], simulated: bool = False) -> GivenDevice:
    options = argparse.Namespace(gpu=None)
    return given_device(
        options, session({"/v1/gpus": {"gpus": list(gpus), "simulated": simulated}}), KNOWN, enough=None
    )


def test_a_gpu_that_is_known_by_its_name() -> None:
    found = device({"name": "NVIDIA GeForce RTX 4090", "memory_total_bytes": 25_757_220_864})
    assert found.device == KNOWN.find("RTX 4090")
    assert found.memory == 25_757_220_864
    assert found.note == "RTX 4090, as the daemon names it"


def test_the_first_of_several() -> None:
    found = device({"name": "NVIDIA L40S"}, {"name": "NVIDIA L4"})
    assert "L40S, the first of 2" in found.note


def test_one_that_is_not_known_by_what_nvml_says_of_its_memory() -> None:
    found = device({"name": "RTX 9999", "memory_clock_max_hertz": 14.001e9, "memory_bus_width_bits": 256})
    assert found.device is not None
    assert found.device.bandwidth == pytest.approx(896e9, rel=0.001)
    assert "NVML" in found.device.source


def test_a_name_of_several_is_decided_by_what_nvml_says() -> None:
    found = device({"name": "A100 80GB", "memory_clock_max_hertz": 1.593e9, "memory_bus_width_bits": 5120})
    assert found.device is not None
    assert found.device.name == "A100 SXM4 80GB"


@pytest.mark.parametrize(
    "gpus", [(), ({"name": "RTX 9999"},), ({"name": "SIMULATED GPU", "simulated": True},)]
)
def test_where_none_is_known_it_says_what_to_give(gpus: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(BadInput, match="give --gpu NAME"):
        device(*gpus)


def test_a_simulated_gpu_is_no_basis_of_an_estimate() -> None:
    with pytest.raises(BadInput, match="is simulated"):
        device(
            {"name": "SIMULATED GPU", "memory_clock_max_hertz": 9e9, "memory_bus_width_bits": 256},
            simulated=True,
        )


def test_an_estimate_for_the_gpu_of_this_machine() -> None:
    options = argparse.Namespace(
        model=None, weights=8e9, layers=None, gpu=None, kv_type="f16", bandwidth=None, parameters=None,
        precision="fp16", batch=1, context=0, prompt=None, draft_accepted=1.0, calibrate=[],
        offload_layers=None, ram_bandwidth=None, rpc=None, hidden=None, gpus=1, gpu_link="pcie4-x16",
    )  # fmt: skip
    own = session({"/v1/gpus": {"gpus": [{"name": "NVIDIA GeForce RTX 5070 Ti"}]}})
    assert cli_estimate.run(options, own) == 0
    document = json.loads(own.out.getvalue())  # type: ignore[attr-defined]
    assert document["decode_ceiling_tok_s"] == pytest.approx(112)
    assert "RTX 5070 Ti, as the daemon names it" in document["notes"]


def test_claims_stand_beside_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli_claims, "OWN", tmp_path / "absent")
    sample = {"output_tokens_per_second": 83.0, "ttft_seconds": None}
    endpoint = {"name": "vllm", "model": "m", "measured_at": 1.0, "simulated": False, "sample": sample}
    results = {"endpoints": [endpoint, {**endpoint, "name": "new", "sample": None}]}
    own = session({"/v1/bench/results": results})
    assert cli_claims.run(argparse.Namespace(file=[]), own) == 0
    claims = {claim["name"]: claim for claim in json.loads(own.out.getvalue())["claims"]}  # type: ignore[attr-defined]
    (measured,) = claims["vllm-decode"]["measured"]
    assert (measured["endpoint"], measured["value"]) == ("vllm", 83.0)
    assert claims["vllm-ttft"]["measured"] == []
    assert claims["vllm-sequences"]["measured"] == []
    own.json, own.out = False, io.StringIO()
    assert cli_claims.run(argparse.Namespace(file=[]), own) == 0
    assert "  measured here: vllm 83 tok/s, one request" in own.out.getvalue().splitlines()
