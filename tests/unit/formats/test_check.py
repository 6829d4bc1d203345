"""Damage that shows in one file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.demo.model_folder import make_model_folder
from aiidpd.formats.check import check_file
from aiidpd.formats.damage import Damage, damage_of_head
from aiidpd.formats.gguf import GgufHeader
from aiidpd.formats.safetensors import SafetensorsHeader
from tests.forms import examples

PAGE = b"\xef\xbb\xbf\n <!DOCTYPE HTML>\n<html lang=en><title>Log in</title>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_model_folder(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["model.gguf", "model.safetensors"])
def test_a_model_in_each_state_of_damage(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    sound = check_file(path)
    assert (sound.damage, sound.reason, sound.size_bytes) == (None, "", len(whole))
    assert isinstance(sound.header, GgufHeader | SafetensorsHeader)
    assert sound.expected_bytes == len(whole)
    states = {
        Damage.EMPTY: b"",
        Damage.HTML: PAGE,
        Damage.TEXT: b'{"error":"Invalid username or password."}',
        Damage.LFS_POINTER: POINTER,
        Damage.ZEROED: bytes(4096) + whole[4096:],
        Damage.WRONG_MAGIC: b"PK\3\4" + b"\xff" * 2000,
        Damage.TRUNCATED: whole[:-1000],
        Damage.TRAILING: whole + b"x" * 100,
    }
    for damage, content in states.items():
        path.write_bytes(content)
        found = check_file(path)
        assert found.damage is damage
        assert found.reason.startswith(damage.sentence)
        assert found.size_bytes == len(content)
    path.write_bytes(whole[: len(whole) // 2])
    assert check_file(path).expected_bytes == len(whole)


def test_a_name_tells_what_the_file_is_called_in_a_cache(folder: Path) -> None:
    blob = folder / ("a" * 64)
    blob.write_bytes(PAGE)
    assert check_file(blob).damage is None
    assert check_file(blob, "sub/model.safetensors").damage is Damage.HTML
    (folder / "model.gguf").rename(folder / "sha256-00")
    assert isinstance(check_file(folder / "sha256-00").header, GgufHeader)


@pytest.mark.parametrize(
    ("name", "content", "damage"),
    [
        ("model.gguf.incomplete", b"GGUF", Damage.INCOMPLETE),
        ("x.part", b"x", Damage.INCOMPLETE),
        ("config.json", b"", Damage.EMPTY),
        ("config.json", PAGE, Damage.HTML),
        ("config.json", b"{}", None),
        ("config.json", b'{"error":"is this one?"}', None),
        ("pytorch_model.bin", b"\x80\x02", None),
        ("pytorch_model.bin", bytes(1000), Damage.ZEROED),
        ("weights.bin", bytes(1000), None),
        ("weights.pt", PAGE, Damage.HTML),
        ("weights.pt", b"Access denied", Damage.TEXT),
        ("weights.pt", b"Entry not found", Damage.TEXT),
        ("page.html", PAGE, None),
        ("README.md", b"", None),
        ("anything", POINTER, Damage.LFS_POINTER),
    ],
)
def test_files_of_other_formats(tmp_path: Path, name: str, content: bytes, damage: Damage | None) -> None:
    (tmp_path / name).write_bytes(content)
    assert check_file(tmp_path / name).damage is damage


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    (tmp_path / "dangling.gguf").symlink_to("nothing")
    assert check_file(tmp_path / "model.gguf").damage is Damage.NO_FILE
    assert check_file(tmp_path).damage is Damage.NO_FILE
    assert check_file(tmp_path / "dangling.gguf").damage is Damage.MISSING


def test_each_damage_has_a_sentence_of_its_own() -> None:
    sentences = {damage.sentence for damage in Damage}
    assert len(sentences) == len(Damage)
    assert all(": " in sentence for sentence in sentences)


@examples(300)
@given(st.binary(max_size=600), st.sampled_from([b"", b"GGUF"]), st.booleans())
def test_any_head_is_judged(head: bytes, magic: bytes, text: bool) -> None:
    found = damage_of_head(head, magic=magic, text=text)
    assert found is None or found in Damage
    assert (found is Damage.EMPTY) is (not head)
    if magic and not text and not head.startswith(magic):
        assert found is not None
