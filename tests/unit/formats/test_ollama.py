"""Models as Ollama stores them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.formats import ollama
from aiidpd.formats.damage import Damage
from aiidpd.formats.model_files import Algorithm, Layout, ModelFiles, Proof
from aiidpd.formats.walk import Budget

IMAGE = "application/vnd.ollama.image."


def add(folder: Path, name: str, layers: dict[str, bytes], *, colon: bool = False) -> Path:
    """Add a model as ``ollama pull`` does; return its manifest."""
    parts = []
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    for kind, content in layers.items():
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs" / f"sha256{':' if colon else '-'}{digest}").write_bytes(content)
        parts.append({"mediaType": f"{IMAGE}{kind}", "digest": f"sha256:{digest}", "size": len(content)})
    config = parts.pop(0) | {"mediaType": "application/vnd.docker.container.image.v1+json"}
    manifest = folder / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "config": config, "layers": parts}))
    return manifest


def models(folder: Path) -> list[ModelFiles]:
    return list(ollama.read_models(folder, Budget()))


@pytest.mark.parametrize("colon", [False, True])
def test_a_model_with_its_proofs(tmp_path: Path, colon: bool) -> None:
    name = "registry.ollama.ai/library/qwen3/8b"
    add(tmp_path, name, {"config": b"{}", "model": b"weights", "template": b"t"}, colon=colon)
    (model,) = models(tmp_path)
    assert (model.layout, model.name, model.problems) == (Layout.OLLAMA, "qwen3:8b", ())
    assert model.repository == "registry.ollama.ai/library/qwen3"
    manifest, weights, _, config = model.files
    assert (manifest.path, manifest.proof) == (f"manifests/{name}", None)
    digest = hashlib.sha256(b"weights").hexdigest()
    assert weights.path == f"model-{digest[:12]}"
    assert weights.proof == (Algorithm.SHA256, digest)
    assert (tmp_path / weights.at).read_bytes() == b"weights"
    assert config.path.startswith("config-")
    assert ollama.is_ollama(tmp_path)


def test_names_as_ollama_shows_them() -> None:
    assert ollama.name_of("registry.ollama.ai/library/qwen3/8b") == "qwen3:8b"
    assert ollama.name_of("registry.ollama.ai/me/mine/latest") == "me/mine:latest"
    assert ollama.name_of("hf.co/unsloth/Qwen3-8B-GGUF/Q4_K_M") == "hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M"


def test_layers_that_are_missing_short_or_long(tmp_path: Path) -> None:
    add(tmp_path, "h/n/m/t", {"config": b"{}", "model": b"weights", "template": b"text", "license": b"free"})
    (model,) = models(tmp_path)
    at = {file.path.partition("-")[0]: tmp_path / file.at for file in model.files}
    at["model"].write_bytes(b"wei")
    at["template"].write_bytes(b"text and more")
    at["license"].unlink()
    (model,) = models(tmp_path)
    assert {p.path.partition("-")[0]: p.damage for p in model.problems} == {
        "model": Damage.TRUNCATED,
        "template": Damage.TRAILING,
        "license": Damage.MISSING,
    }


def test_downloads_that_did_not_end(tmp_path: Path) -> None:
    add(tmp_path, "h/n/m/t", {"config": b"{}", "model": b"weights"})
    partial = f"sha256-{'a' * 64}-partial"
    for name in (partial, f"{partial}-0"):
        (tmp_path / "blobs" / name).write_bytes(b"123")
    assert [file.path for file in ollama.leftovers(tmp_path, Budget())] == [partial, f"{partial}-0"]
    assert ollama.is_left_out(partial)
    assert ollama.proof_of_blob(partial) is None
    assert ollama.proof_of_blob(f"sha256-{'a' * 64}") == Proof(Algorithm.SHA256, "a" * 64)
    assert not ollama.is_left_out(f"sha256-{'a' * 64}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"1",
        b"{}",
        b"<html>",
        b'{"layers":[{"digest":"../../etc/passwd"}]}',
        b'{"layers":[{"digest":"sha256:../x"}]}',
        b'{"layers":[1]}',
        b'{"layers":{"a":1}}',
        b"[" * 50_000,
        b"\xff",
    ],
)
def test_a_bad_manifest_is_named_and_the_rest_is_read(tmp_path: Path, content: bytes) -> None:
    add(tmp_path, "h/n/good/t", {"config": b"{}", "model": b"weights"})
    add(tmp_path, "h/n/bad/t", {"config": b"{}"}).write_bytes(content)
    budget = Budget()
    assert [model.name for model in ollama.read_models(tmp_path, budget)] == ["h/n/good:t"]
    (fault,) = budget.unreadable
    assert "h/n/bad/t" in fault


JSON = st.recursive(
    st.none() | st.integers() | st.just("sha256:" + "a" * 64) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["layers", "config", "digest", "size", "mediaType"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(JSON)
def test_any_manifest_is_read(tmp_path_factory: pytest.TempPathFactory, manifest: Any) -> None:
    folder = tmp_path_factory.mktemp("ollama")
    (folder / "blobs").mkdir()
    path = folder / "manifests" / "h" / "n" / "m" / "t"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(manifest))
    for model in models(folder):
        assert all(file.at.startswith(("blobs/sha256", "manifests/")) for file in model.files)
