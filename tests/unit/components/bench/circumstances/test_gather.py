"""Circumstances from the views of other components."""

from __future__ import annotations

from aiidpd.components.bench.circumstances.gather import container_of, gather, used_gpus
from aiidpd.contracts.containers import CONTAINERS, ContainerSummary, ContainersView
from aiidpd.contracts.engines import ENGINES, EngineState, EnginesView
from aiidpd.contracts.gpus import GpuMemoryUse, GpusView, GpuUse
from aiidpd.contracts.models import MODELS, StoredModel, StoredModels
from aiidpd.kernel.views import Views
from tests.unit.components.bench.circumstances.views import Offered

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
    image_id="sha256:" + "ab" * 32,
)
ENGINE = EngineState("local", "m", False, "vllm", CONTAINER.id, "http://x", version="0.11.1")


def test_nothing_is_known_where_nobody_knows():
    assert {name: value for name, value in gather(Views(), "local").items() if value is not None} == {}
    assert container_of(Views(), "local") is None


def test_engine_container_and_model_are_named_and_no_secret_is():
    offered = Offered()
    offered.put(ENGINES, EnginesView((ENGINE,)))
    offered.put(CONTAINERS, ContainersView((CONTAINER,)))
    offered.put(
        MODELS,
        StoredModels(
            (
                StoredModel(name="a", digest="sha256:aa", engines=("local",)),
                StoredModel(name="b", digest="sha256:bb", engines=("other",)),
            )
        ),
    )
    found = gather(offered.views, "local")
    assert (found["engine"], found["engine version"]) == ("vllm", "0.11.1")
    assert found["image"] == "vllm/vllm-openai:v0.11"
    assert found["image digest"] == CONTAINER.image_id
    assert found["model digest"] == "sha256:aa"
    assert found["arguments"] == "vllm serve"
    assert (found["--max-num-seqs"], found["--dtype"], found["-v"]) == ("256", "fp8", "given")
    assert "s3cr3tvalue" not in str(found)


def test_a_digest_that_two_models_claim_or_none_has_is_not_known():
    offered = Offered()
    offered.put(ENGINES, EnginesView((ENGINE,)))
    for digests in (("sha256:aa", "sha256:bb"), ("",), ()):
        models = tuple(StoredModel(name=each, digest=each, engines=("local",)) for each in digests)
        offered.put(MODELS, StoredModels(models))
        assert gather(offered.views, "local")["model digest"] is None


def test_gpus_in_use_are_those_with_its_processes_else_all_of_one_kind():
    gpus = GpusView(
        (
            GpuUse(0, "u0", "L4", processes=()),
            GpuUse(1, "u1", "H100", processes=(GpuMemoryUse(5, CONTAINER.id),)),
        )
    )
    assert [each.index for each in used_gpus(gpus, CONTAINER)] == [1]
    one = GpusView((GpuUse(0, "a", "H100"), GpuUse(1, "b", "H100")), "570")
    assert len(used_gpus(one, None)) == 2
    assert used_gpus(gpus, None) == ()
