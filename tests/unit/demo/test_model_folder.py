"""The demo's files as the formats' own libraries see them."""

import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from safetensors import safe_open

from aiidpd.demo.model_folder import make_model_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "demo"
    make_model_folder(path)
    return path


def test_safetensors_reads_it(folder: Path):
    with safe_open(folder / "model.safetensors", framework="np") as file:
        shapes = {name: file.get_tensor(name).shape for name in file.keys()}  # noqa: SIM118 -- not a mapping
        embedding = file.get_tensor("model.embed_tokens.weight")
    assert shapes == {
        "model.embed_tokens.weight": (512, 256),
        "model.layers.0.mlp.up_proj.weight": (512, 256),
        "model.norm.weight": (256,),
    }
    assert embedding.dtype == np.float32
    assert np.isfinite(embedding).all()
    assert embedding.std() > 0.01


def test_gguf_reads_it(folder: Path):
    reader = GGUFReader(folder / "model.gguf")
    assert reader.fields["GGUF.version"].contents() == 3
    assert reader.fields["general.architecture"].contents() == "llama"
    assert reader.fields["llama.embedding_length"].contents() == 256
    assert reader.fields["llama.attention.layer_norm_rms_epsilon"].contents() == pytest.approx(1e-5)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert set(tensors) == {"token_embd.weight", "blk.0.ffn_up.weight", "output_norm.weight"}
    assert all(tensor.data_offset % 32 == 0 for tensor in tensors.values())
    with safe_open(folder / "model.safetensors", framework="np") as file:
        same = file.get_tensor("model.layers.0.mlp.up_proj.weight")
    assert np.array_equal(tensors["blk.0.ffn_up.weight"].data, same)


def test_it_is_small_and_describes_itself(folder: Path):
    total = sum(file.stat().st_size for file in folder.iterdir())
    assert 1024**2 < total < 4 * 1024**2
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 256


def test_making_it_again_touches_nothing_and_mends_what_is_damaged(tmp_path: Path):
    make_model_folder(tmp_path)
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in tmp_path.iterdir()}
    make_model_folder(tmp_path)
    assert {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in tmp_path.iterdir()} == before
    (tmp_path / "model.gguf").write_bytes(b"damaged")
    make_model_folder(tmp_path)
    assert (tmp_path / "model.gguf").read_bytes() == before["model.gguf"][1]
