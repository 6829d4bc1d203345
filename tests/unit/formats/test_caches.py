"""Models below one folder, in all layouts at once; their facts and damage."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import gguf as reference
import numpy as np
import pytest

from aiidpd.demo.model_folder import make_model_folder
from aiidpd.formats.caches import find_models, paths_of, recognise
from aiidpd.formats.damage import Damage
from aiidpd.formats.inspect import inspect
from aiidpd.formats.model_files import Algorithm, Layout, ModelFiles
from aiidpd.formats.walk import Budget
from tests.fakes.hub import Hub, download
from tests.unit.formats.test_ollama import add


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_model_folder(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> Path:
    """Return a folder with a cache of each kind, made of the demo's files."""
    tmp_path = tmp_path_factory.mktemp("made")
    root = tmp_path / "models"
    files = {file.name: file.read_bytes() for file in demo.iterdir()}
    with Hub(tmp_path / "hub") as hub:
        tensors = {name: content for name, content in files.items() if not name.endswith(".gguf")}
        hub.publish("owner/model", tensors, xet=True)
        hub.publish(
            "owner/quants", {f"m-{q}.gguf": files["model.gguf"] for q in ("Q4", "Q8")} | {"README.md": b"x"}
        )
        download(hub, root / "hf", "owner/model")
        download(hub, root / "hf", "owner/quants")
        download(hub, tmp_path / "home", "owner/model", local_dir=str(root / "plain" / "local"))
    add(
        root / "ollama", "registry.ollama.ai/library/demo/1b", {"config": b"{}", "model": files["model.gguf"]}
    )
    studio = root / ".lmstudio" / "models" / "infra-ai" / "ocelot"
    scope = root / "modelscope" / "hub" / "models" / "Qwen" / "Qwen2___5-0___5B"
    for folder, names in ((studio, ["model.gguf"]), (scope, ["config.json", "model.safetensors"])):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(files[name])
    (scope / ".mv").write_text("Revision:master,CreatedAt:1723123123")
    (scope / ".msc").write_bytes(b"never read")
    return root


@pytest.fixture
def models(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the folder, its links as they are."""
    return shutil.copytree(made, tmp_path / "models", symlinks=True)


def named(root: Path) -> dict[tuple[Layout, str], ModelFiles]:
    listing = find_models(root)
    assert listing.complete
    assert listing.unreadable == ()
    return {(model.layout, model.name): inspect(model) for model in listing.models}


def test_every_layout_is_found_and_read(models: Path) -> None:
    found = named(models)
    assert set(found) == {
        (Layout.HUGGING_FACE, "owner/model"),
        (Layout.HUGGING_FACE, "owner/quants:m-Q4"),
        (Layout.HUGGING_FACE, "owner/quants:m-Q8"),
        (Layout.FOLDER, "plain/local"),
        (Layout.OLLAMA, "demo:1b"),
        (Layout.LM_STUDIO, "infra-ai/ocelot/model"),
        (Layout.MODELSCOPE, "Qwen/Qwen2.5-0.5B"),
    }
    for model in found.values():
        assert model.problems == ()
        assert model.facts is not None
        assert model.facts.parameters == 2 * 512 * 256 + 256
        assert model.facts.types[0].name == "F32"
        assert all(path.is_file() for path in paths_of(model))
    assert found[Layout.HUGGING_FACE, "owner/model"].facts.architecture == "LlamaForCausalLM"
    assert found[Layout.OLLAMA, "demo:1b"].facts.architecture == "llama"
    assert found[Layout.LM_STUDIO, "infra-ai/ocelot/model"].repository == "infra-ai/ocelot"
    scope = found[Layout.MODELSCOPE, "Qwen/Qwen2.5-0.5B"]
    assert (scope.repository, scope.revision) == ("Qwen/Qwen2.5-0.5B", "master")
    assert {file.path for file in scope.files} == {"config.json", "model.safetensors"}


def test_the_same_proof_shows_the_same_content_in_several_caches(models: Path) -> None:
    found = named(models)
    hub = found[Layout.HUGGING_FACE, "owner/quants:m-Q4"].files[0]
    ollama = found[Layout.OLLAMA, "demo:1b"].files[1]
    assert hub.proof == ollama.proof
    local = {file.path: file for file in found[Layout.FOLDER, "plain/local"].files}
    cached = {file.path: file for file in found[Layout.HUGGING_FACE, "owner/model"].files}
    assert {path: file.proof for path, file in local.items()} == {path: f.proof for path, f in cached.items()}
    assert local["config.json"].proof.algorithm is Algorithm.GIT_SHA1
    assert (
        found[Layout.FOLDER, "plain/local"].revision
        == found[Layout.HUGGING_FACE, "owner/model"].revision
        != ""
    )


def test_a_file_that_changed_after_its_download_has_no_proof(models: Path) -> None:
    path = models / "plain" / "local" / "config.json"
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 10))
    files = {file.path: file for file in named(models)[Layout.FOLDER, "plain/local"].files}
    assert files["config.json"].proof is None
    assert files["model.safetensors"].proof is not None


@pytest.mark.parametrize(
    ("folder", "layout"),
    [
        ("hf/hub", Layout.HUGGING_FACE),
        ("hf/hub/models--owner--model", Layout.HUGGING_FACE),
        ("ollama", Layout.OLLAMA),
        (".lmstudio/models", Layout.LM_STUDIO),
        ("modelscope/hub", Layout.MODELSCOPE),
        ("plain", Layout.FOLDER),
        ("nowhere", Layout.FOLDER),
    ],
)
def test_a_folder_alone_is_recognised_and_listed(models: Path, folder: str, layout: Layout) -> None:
    assert recognise(models / folder) is layout
    assert {model.layout for model in find_models(models / folder).models} <= {layout}
    assert bool(find_models(models / folder).models) is (folder != "nowhere")


def test_a_repository_alone_dangles_and_says_so(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "hf/hub/models--owner--model", tmp_path / "models--owner--model", symlinks=True)
    (model,) = find_models(tmp_path / "models--owner--model").models
    problems = {problem.path: problem.damage for problem in inspect(model).problems}
    assert problems["model.safetensors"] is Damage.MISSING


def test_damage_and_leftovers_are_found(models: Path) -> None:
    studio = models / ".lmstudio" / "models" / "infra-ai" / "ocelot"
    (studio / "model.gguf").write_bytes(b"<html>")
    (studio / "other.gguf.part").write_bytes(b"x")
    temporary = models / "modelscope" / "hub" / "._____temp" / "o" / "m"
    temporary.mkdir(parents=True)
    (temporary / "w.safetensors").write_bytes(b"x")
    blob = models / "hf/hub/models--owner--quants/blobs" / f"{'a' * 64}.12345678.incomplete"
    blob.write_bytes(b"12")
    listing = find_models(models)
    assert {file.at for file in listing.leftovers} == {
        str(path.relative_to(models))
        for path in (studio / "other.gguf.part", temporary / "w.safetensors", blob)
    }
    (problem,) = named(models)[Layout.LM_STUDIO, "infra-ai/ocelot/model"].problems
    assert (problem.path, problem.damage) == ("model.gguf", Damage.HTML)


def test_a_split_model_is_one_and_a_missing_part_is_named(tmp_path: Path) -> None:
    writer = reference.GGUFWriter(tmp_path / "big.gguf", "llama", split_max_tensors=1, small_first_shard=True)
    for number in range(3):
        writer.add_tensor(f"blk.{number}.weight", np.zeros([2, 64], dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (model,) = find_models(tmp_path).models
    whole = inspect(model)
    assert (whole.name, whole.problems, len(whole.files)) == ("big", (), 4)
    assert whole.facts is not None
    assert (whole.facts.parameters, whole.facts.tensor_count, whole.facts.tensor_bytes) == (384, 3, 1536)
    (tmp_path / "big-00003-of-00004.gguf").unlink()
    (model,) = find_models(tmp_path).models
    (problem,) = inspect(model).problems
    assert (problem.path, problem.damage) == ("big-00003-of-00004.gguf", Damage.MISSING)


def test_a_model_in_several_files_and_one_of_them_missing(tmp_path: Path, demo: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    shutil.copy(demo / "model.safetensors", folder / "model-00001-of-00002.safetensors")
    shutil.copy(demo / "config.json", folder)
    weights = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = {"metadata": {"total_size": 9, "total_parameters": 12345}, "weight_map": weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (model,) = find_models(tmp_path).models
    found = inspect(model)
    assert found.facts is not None
    assert found.facts.parameters == 12345
    assert [(problem.path, problem.damage) for problem in found.problems] == [
        ("model-00002-of-00002.safetensors", Damage.MISSING)
    ]


def test_links_devices_and_odd_names(tmp_path: Path, demo: Path) -> None:
    real = tmp_path / "elsewhere"
    real.mkdir()
    shutil.copy(demo / "model.gguf", real / "model.gguf")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked.gguf").symlink_to(real / "model.gguf")
    (root / "loop").symlink_to(root)
    (root / "circle.gguf").symlink_to("circle.gguf")
    (root / "dangling.gguf").symlink_to("nothing")
    os.mkfifo(root / "pipe.gguf")
    odd = os.fsdecode(b"odd\xff\n.gguf")
    shutil.copy(demo / "model.gguf", root / odd)
    found = {model.name: inspect(model) for model in find_models(root).models}
    assert found["linked"].files[0].at == str(real / "model.gguf")
    assert found["linked"].problems == found[odd.removesuffix(".gguf")].problems == ()
    assert {name: model.problems[0].damage for name, model in found.items() if model.problems} == {
        "circle": Damage.UNREADABLE,
        "dangling": Damage.MISSING,
        "pipe": Damage.NO_FILE,
    }


def test_a_bound_makes_the_listing_incomplete(models: Path) -> None:
    assert not find_models(models, Budget(entries=10)).complete
