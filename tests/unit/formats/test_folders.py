"""Models that plain files form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.formats import folders
from aiidpd.formats.model_files import Algorithm, Layout, Proof


def test_folders_files_and_parts() -> None:
    found = folders.group(
        [
            "README.md",
            "big/q-00001-of-00002.gguf",
            "big/q-00002-of-00002.gguf",
            "flux/model_index.json",
            "flux/unet/config.json",
            "flux/unet/w.safetensors",
            "lone.safetensors",
            "org/m/config.json",
            "org/m/model.safetensors",
            "org/m/m-Q4.gguf",
            "quants/a-Q4_K_M.gguf",
            "quants/a-Q8_0.gguf",
            "quants/config.json",
        ]
    )
    assert found == {
        "big/q": ("big/q-00001-of-00002.gguf", "big/q-00002-of-00002.gguf"),
        "flux": ("flux/model_index.json", "flux/unet/config.json", "flux/unet/w.safetensors"),
        "lone": ("lone.safetensors",),
        "org/m": ("org/m/config.json", "org/m/model.safetensors"),
        "org/m/m-Q4": ("org/m/m-Q4.gguf",),
        "quants/a-Q4_K_M": ("quants/a-Q4_K_M.gguf",),
        "quants/a-Q8_0": ("quants/a-Q8_0.gguf",),
    }


def test_a_folder_that_is_one_model() -> None:
    assert folders.group(["config.json", "a/w.safetensors", "w.bin"]) == {
        "": ("a/w.safetensors", "config.json", "w.bin")
    }


PARTS = ["a", "b", "config.json", "w.safetensors", "x.gguf", "x-00001-of-00002.gguf"]
PATHS = st.lists(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join), max_size=12, unique=True
)


@given(PATHS)
def test_no_file_is_in_two_models_and_no_weights_in_none(paths: list[str]) -> None:
    grouped = [path for files in folders.group(paths).values() for path in files]
    assert len(grouped) == len(set(grouped))
    assert {path for path in paths if path.endswith((".gguf", ".safetensors"))} <= set(grouped) <= set(paths)


def test_missing_parts() -> None:
    assert folders.missing_parts(["m-00001-of-00003.gguf", "m-00003-of-00003.gguf", "o.gguf"]) == (
        "m-00002-of-00003.gguf",
    )
    assert folders.missing_parts(["m-00001-of-99999.gguf"]) == ()


@pytest.mark.parametrize(
    ("path", "leftover"),
    [
        ("m.gguf.part", True),
        ("._____temp/owner/model/w.safetensors", True),
        ("m.gguf.downloadInProgress", True),
        ("m.gguf", False),
        ("part/m.gguf", False),
    ],
)
def test_leftovers(path: str, leftover: bool) -> None:
    assert folders.is_leftover(path) is leftover


def test_layouts() -> None:
    assert folders.layout_of("/home/a/.lmstudio/models/o/m", []) is Layout.LM_STUDIO
    assert folders.layout_of("/home/a/.cache/modelscope/hub/o/m", []) is Layout.MODELSCOPE
    assert folders.layout_of("/mnt/models/o/m", [".msc", "x"]) is Layout.MODELSCOPE
    assert folders.layout_of("/mnt/models/o/m", ["x"]) is Layout.FOLDER


def test_names_of_modelscope() -> None:
    assert folders.modelscope_name("Qwen/Qwen2___5-0___5B") == "Qwen/Qwen2.5-0.5B"
    assert folders.modelscope_revision(b"Revision:v1.0.2,CreatedAt:1723123123") == "v1.0.2"
    assert folders.modelscope_revision(b"\xff") == ""


def test_records_of_downloads() -> None:
    commit, etag = "a" * 40, "b" * 64
    record = folders.hub_record(f"{commit}\n{etag}\n17.5\n".encode())
    assert record == (commit, Proof(Algorithm.SHA256, etag), 17.5)
    assert folders.hub_record(f"{commit}\nmd5\n17.5\n".encode()) == (commit, None, 17.5)
    assert folders.hub_record(b"x\ny\n1\n") is None
    assert folders.hub_record(f"{commit}\n{etag}\nsoon\n".encode()) is None


@given(st.binary(max_size=200))
def test_any_record_is_read(data: bytes) -> None:
    folders.hub_record(data)
    folders.modelscope_revision(data)
