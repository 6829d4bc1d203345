"""Scans of real folders: what is found, what is not opened again, what is named as wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiidpd.components.models import scan as scan_module
from aiidpd.components.models.folders import mount_of, spaces_of, usual_folders
from aiidpd.components.models.scan import ScanCancelled, ScanControl, scan
from aiidpd.formats.damage import Damage
from aiidpd.formats.model_files import Layout
from tests.fakes.hub import Hub, download
from tests.unit.components.models.site import folder_model, gguf, records_of, scanned

WEIGHTS = bytes(range(256)) * 5000


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a cache that the real huggingface_hub made: two models with the same weights, two revisions."""
    folder = tmp_path_factory.mktemp("hub")
    with Hub(folder / "hub") as hub:
        hub.publish("owner/model", {"config.json": b"{}", "w.bin": WEIGHTS[::-1]}, branch="v1")
        hub.publish("owner/model", {"config.json": b"{}", "w.bin": WEIGHTS})
        hub.publish("owner/copy", {"config.json": b"{}", "w.bin": WEIGHTS})
        download(hub, folder / "home", "owner/model", revision="v1", shared=False)
        download(hub, folder / "home", "owner/model", shared=False)
        download(hub, folder / "home", "owner/copy", shared=False)
        yield folder / "home" / "hub"


def test_real_models_of_several_formats_are_found_with_their_facts(tmp_path: Path) -> None:
    gguf(tmp_path / "tiny.gguf")
    folder_model(tmp_path / "llama")
    found = {each.model.name: each for each in scanned(tmp_path).models}
    assert set(found) == {"tiny", "llama"}
    facts = found["tiny"].model.facts
    assert facts is not None
    assert (facts.format, facts.architecture, facts.context_length) == ("gguf", "llama", 8192)
    facts = found["llama"].model.facts
    assert facts is not None
    assert (facts.format, facts.parameters, facts.tensor_bytes) == ("safetensors", 1200 * 256, 1200 * 1024)
    assert found["llama"].places[0] == str(tmp_path / "llama")
    assert found["tiny"].places == (str(tmp_path / "tiny.gguf"),)


def test_a_real_cache_has_its_revisions_proofs_and_places(cache: Path) -> None:
    found = scanned(cache)
    assert sorted(each.label.partition("@")[0] for each in found.models) == [
        "owner/copy", "owner/model", "owner/model"
    ]  # fmt: skip
    for each in found.models:
        assert each.model.layout is Layout.HUGGING_FACE
        assert each.places[0].endswith(f"snapshots/{each.model.revision}")
        assert Path(each.places[0]).is_dir()
        assert all(file.proof for file in each.files)
    assert found.spaces[0].free_bytes > 0


def test_what_did_not_change_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf(tmp_path / "tiny.gguf")
    folder_model(tmp_path / "llama")
    first = scanned(tmp_path)
    assert first.opened == 2
    opened = []
    real = scan_module.inspect
    monkeypatch.setattr(scan_module, "inspect", lambda model: opened.append(model.name) or real(model))
    again = scanned(tmp_path, known=records_of(first))
    assert (again.opened, opened) == (0, [])
    assert again.models == first.models

    os.utime(tmp_path / "llama" / "model.safetensors", (1, 1))
    changed = scanned(tmp_path, known=records_of(first))
    assert opened == ["llama"]
    assert changed.opened == 1


def test_damaged_downloads_are_named(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_bytes(b"<!DOCTYPE html><html>please log in</html>")
    (tmp_path / "zero.gguf").write_bytes(bytes(4096))
    gguf(tmp_path / "short.gguf")
    os.truncate(tmp_path / "short.gguf", 200_000)
    (tmp_path / "later.gguf.part").write_bytes(b"x")
    os.utime(tmp_path / "later.gguf.part", (1000, 1000))
    found = scanned(tmp_path)
    damage = {each.model.name: [p.damage for p in each.model.problems] for each in found.models}
    assert damage == {"page": [Damage.HTML], "zero": [Damage.ZEROED], "short": [Damage.TRUNCATED]}
    (left,) = found.leftovers
    assert (left.path, left.changed_at) == (str(tmp_path / "later.gguf.part"), 1000)


def test_an_incomplete_file_of_a_cache_is_a_leftover(cache: Path) -> None:
    left = cache / "models--owner--copy" / "blobs" / f"{'a' * 64}.12345678.incomplete"
    left.write_bytes(b"x" * 10)
    try:
        (found,) = scanned(cache).leftovers
        assert (found.path, found.size_bytes) == (str(left), 10)
    finally:
        left.unlink()


def test_a_folder_that_is_missing_or_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = scanned(tmp_path / "nowhere", tmp_path / "file")
    assert [(each.found, each.reason) for each in found.folders] == [
        (False, "no such file or directory"),
        (False, "not a directory"),
    ]


def test_a_folder_within_another_counts_once(tmp_path: Path) -> None:
    cache = tmp_path / "a"
    gguf(cache / "tiny.gguf")
    (tmp_path / "link").symlink_to(cache)
    assert len(scanned(cache, tmp_path / "link").models) == 1


def test_names_of_any_bytes_are_shown_and_stay_apart(tmp_path: Path) -> None:
    for name in (b"a\xff.gguf", b"a\xfe.gguf", b"a\nb.gguf"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"GGUF")
    labels = sorted(each.label for each in scanned(tmp_path).models)
    assert labels == ["a\nb", "a\\xfe", "a\\xff"]
    json.dumps(labels, ensure_ascii=False).encode()


def test_a_cancelled_scan_ends_at_its_next_step(tmp_path: Path) -> None:
    gguf(tmp_path / "tiny.gguf")
    control = ScanControl(cancelled=True)
    with pytest.raises(ScanCancelled):
        scan([(tmp_path, True)], {}, control)


def test_usual_folders_are_those_that_are_there(tmp_path: Path) -> None:
    for name in ("mnt/models", "home/a/.cache/huggingface/hub", "home/b/.ollama/models", "hf/hub"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv" / "models").symlink_to(tmp_path / "mnt" / "models")
    environ = {"HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path / "home" / "a")}
    found = [str(path.relative_to(tmp_path)) for path in usual_folders(environ, tmp_path)]
    assert found == ["hf/hub", "mnt/models", "home/a/.cache/huggingface/hub", "home/b/.ollama/models"]
    assert usual_folders({}, tmp_path / "nowhere") == ()


def test_the_file_system_of_a_folder_is_found(tmp_path: Path) -> None:
    mount, device = mount_of(tmp_path)
    assert os.path.ismount(mount)
    assert device == tmp_path.stat().st_dev
    assert len(spaces_of([tmp_path, tmp_path, tmp_path / "nowhere"])) == 1
