"""Uses of models: by mounts, command lines, engines, open files."""

from __future__ import annotations

from typing import Any

from aiidpd.components.models.scanned import ScannedModel
from aiidpd.components.models.uses import ModelUse, OpenedBy, UseKind, uses_of
from aiidpd.contracts.containers import ContainerSummary, Mount
from aiidpd.contracts.engines import EngineState, Residency
from aiidpd.formats.model_files import Layout
from tests.unit.components.models.site import made_up

TINY = made_up("tiny", "/m/tiny.gguf")
OTHER = made_up("other", "/m/sub/other.gguf")
COMMIT = "c" * 40


def container(name: str = "llm", **more: Any) -> ContainerSummary:
    given: dict[str, Any] = {"mounts": (Mount("/m", "/models", True),)}
    return ContainerSummary(f"{name}-id", name, "img", "running", None, False, True, **(given | more))


def engine(**more: Any) -> EngineState:
    given: dict[str, Any] = {"model": "", "simulated": False, "residency": Residency.LOADED}
    return EngineState("engine", **(given | more))


def uses(
    *models: ScannedModel,
    containers: tuple[ContainerSummary, ...] = (),
    engines: tuple[EngineState, ...] = (),
    opened: tuple[OpenedBy, ...] = (),
) -> list[list[str]]:
    found = uses_of(models, containers, engines, opened)
    return [[use.kind.value for use in found[model.key]] for model in models]


def test_a_mount_above_a_file_or_of_it_counts_and_one_beside_it_does_not() -> None:
    assert uses(TINY, OTHER, containers=(container(),)) == [["mounted"], ["mounted"]]
    one = container(mounts=(Mount("/m/tiny.gguf", "/model.gguf"),))
    assert uses(TINY, OTHER, containers=(one,)) == [["mounted"], []]
    beside = container(mounts=(Mount("/m/s", "/x"), Mount("/other", "/m")))
    assert uses(TINY, OTHER, containers=(beside,)) == [[], []]
    assert uses(TINY, containers=(container(mounts=(Mount("/", "/host"),)),)) == [["mounted"]]


def test_a_container_that_does_not_run_uses_nothing() -> None:
    stopped = ContainerSummary("id", "n", "img", "exited", None, False, False, mounts=(Mount("/m", "/m"),))
    assert uses(TINY, containers=(stopped,)) == [[]]


def test_a_command_line_names_a_model_by_its_path_in_the_container() -> None:
    for arguments in (("llama-server", "-m", "/models/tiny.gguf"), ("x", "--model=/models/tiny.gguf")):
        assert uses(TINY, OTHER, containers=(container(arguments=arguments),)) == [["named"], ["mounted"]]
    host = container(arguments=("x", "/m/tiny.gguf"), mounts=(Mount("/m", "/elsewhere"),))
    assert uses(TINY, containers=(host,)) == [["mounted"]]


def test_a_command_line_names_a_repository() -> None:
    hub = made_up(
        "Qwen/Qwen3-8B",
        "/m/blobs/x",
        layout=Layout.HUGGING_FACE,
        repository="Qwen/Qwen3-8B",
        revision=COMMIT,
        refs=("main",),
    )
    old = made_up(
        "Qwen/Qwen3-8B",
        "/m/blobs/y",
        layout=Layout.HUGGING_FACE,
        repository="Qwen/Qwen3-8B",
        revision="d" * 40,
    )
    vllm = container(arguments=("vllm", "serve", "Qwen/Qwen3-8B"))
    assert uses(hub, containers=(vllm,)) == [["named"]]
    loaded = engine(model="Qwen/Qwen3-8B", container="llm-id")
    assert uses(hub, old, containers=(vllm,), engines=(loaded,)) == [["loaded"], ["named"]]


def test_an_engine_has_a_model_by_its_name_its_path_or_its_command_line() -> None:
    assert uses(TINY, OTHER, engines=(engine(model="tiny"),)) == [["loaded"], []]
    assert uses(TINY, engines=(engine(model="tiny.gguf"),)) == [["loaded"]]
    assert uses(TINY, engines=(engine(model="/m/tiny.gguf"),)) == [["loaded"]]
    named = container(arguments=("llama-server", "-m", "/models/tiny.gguf", "--alias", "gpt"))
    found = uses_of((TINY, OTHER), (named,), (engine(model="gpt", container="llm-id"),), ())
    assert found[TINY.key] == (ModelUse(UseKind.LOADED, "llm", "engine"),)
    assert [use.kind for use in found[OTHER.key]] == ["mounted"]
    ollama = made_up("qwen3:latest", "/m/blobs/sha256-x", layout=Layout.OLLAMA)
    assert uses(ollama, engines=(engine(model="qwen3"),)) == [["loaded"]]


def test_an_engine_that_holds_nothing_or_is_made_up_uses_nothing() -> None:
    for residency in (Residency.UNLOADED, Residency.UNKNOWN):
        assert uses(TINY, engines=(engine(model="tiny", residency=residency),)) == [[]]
    assert uses(TINY, engines=(engine(model="tiny", simulated=True),)) == [[]]


def test_the_strongest_use_of_each_counts_and_open_files_have_their_process() -> None:
    opened = (OpenedBy(TINY.key, 7, "llama-server", "llm-id"), OpenedBy(TINY.key, 9, "python3", ""))
    found = uses_of((TINY,), (container(),), (), opened)[TINY.key]
    assert found == (
        ModelUse(UseKind.OPEN, "", "", 9, "python3"),
        ModelUse(UseKind.OPEN, "llm", "", 7, "llama-server"),
    )
    assert [use.by for use in found] == ["python3 (9)", "container llm"]
