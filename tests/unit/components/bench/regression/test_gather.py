"""Circumstances from the views of other components."""

from __future__ import annotations

from typing import Any

from aiidpd.components.bench.regression.gather import gather
from aiidpd.contracts.containers import CONTAINERS, ContainerSummary, ContainersView
from aiidpd.contracts.engines import ENGINES, EngineState, EnginesView
from aiidpd.contracts.gpus import GPUS, GpuMemoryUse, GpusView, GpuUse
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.views import View, Views

CONTAINER = ContainerSummary(
    "c1" * 32,
    "vllm",
    "vllm/vllm-openai:v0.11",
    "running",
    None,
    gpu=True,
    running=True,
    started_at=1_800_000_000.0,
    arguments=("vllm", "serve", "--max-num-seqs", "256", "--api-key", "s3cr3tvalue", "--dtype=fp8", "-v"),
)


def views(*offered: tuple[View[Any], object]) -> Views:
    found = Views()
    for view, value in offered:
        found.offer(view, lambda value=value: Reading(value, 1.0, 1.0))  # type: ignore[misc]
    return found


def test_nothing_is_known_where_nobody_knows():
    assert gather(Views(), "local") == ("", {})


def test_engine_container_and_gpu_are_named_and_no_secret_is():
    gpus = (
        GpuUse(0, "u0", "L4", power_limit_watts=72.0, processes=()),
        GpuUse(1, "u1", "H100", power_limit_watts=600.0, processes=(GpuMemoryUse(5, CONTAINER.id),)),
    )
    kind, found = gather(
        views(
            (ENGINES, EnginesView((EngineState("local", "m", False, "vllm", CONTAINER.id, "http://x"),))),
            (CONTAINERS, ContainersView((CONTAINER,))),
            (GPUS, GpusView(gpus, "570.1")),
        ),
        "local",
    )
    assert kind == "H100"
    assert found["image"] == "vllm/vllm-openai:v0.11"
    assert found["arguments"] == "vllm serve"
    assert (found["--max-num-seqs"], found["--dtype"], found["-v"]) == ("256", "fp8", "given")
    assert found["power limit of GPU 1 in W"] == 600.0
    assert "power limit of GPU 0 in W" not in found
    assert found["driver"] == "570.1"
    assert "s3cr3tvalue" not in str(found)


def test_where_no_process_is_known_gpus_of_one_kind_are_that_and_of_two_are_not_known():
    one = GpusView((GpuUse(0, "a", "H100"), GpuUse(1, "b", "H100")), "570")
    assert gather(views((GPUS, one)), "local")[0] == "H100"
    two = GpusView((GpuUse(0, "a", "H100"), GpuUse(1, "b", "L4")), "570")
    assert gather(views((GPUS, two)), "local")[0] == ""
