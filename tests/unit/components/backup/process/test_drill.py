"""Drills on real snapshots: what they choose, prove, record and leave behind."""

import contextlib
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.drill import MARKER, Drill
from aiidpd.components.backup.process.drill_plan import ages, sample
from aiidpd.components.backup.process.drill_record import (
    DRILLS,
    Drills,
    dump_drills,
    load_drills,
    read_drills,
)
from aiidpd.components.backup.process.headers import read_header
from aiidpd.components.backup.process.manifest import FileEntry, Manifest
from aiidpd.components.backup.process.models import REST, models_of
from aiidpd.components.backup.process.requests import DrillRequest
from aiidpd.components.backup.process.results import DrillResult
from aiidpd.kernel.errors import Conflict, Misconfigured, NotFound, Unavailable
from tests.unit.components.backup.conftest import Site

BIG = 2 << 20


def gguf(size: int, seed: int = 1) -> bytes:
    """Return a GGUF file with one tensor of ``size`` bytes."""
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        writer = GGUFWriter(file.name, "llama")
        writer.add_tensor("a", np.frombuffer(random.Random(seed).randbytes(size), dtype=np.int8))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return Path(file.name).read_bytes()


def safetensors(size: int) -> bytes:
    """Return a safetensors file with one tensor of ``size`` bytes."""
    return save({"a": np.zeros(size, dtype=np.int8)})


@pytest.fixture
def models(tmp_path: Path) -> Site:
    site = Site(tmp_path / "source", tmp_path / "target")
    site.target.mkdir()
    for folder in ("hub/models--a/blobs", "plain/b"):
        (site.source / folder).mkdir(parents=True)
    (site.source / "hub/models--a/blobs/one.safetensors").write_bytes(safetensors(BIG))
    (site.source / "plain/b/model.gguf").write_bytes(gguf(BIG))
    (site.source / "plain/b/config.json").write_bytes(b"{}")
    (site.source / "c.gguf").write_bytes(gguf(BIG, 2))
    (site.source / "readme").write_bytes(b"words")
    site.backup()
    return site


def drill(
    site: Site, scratch: Path, now: float = 5.0, control: Control | None = None, **options: Any
) -> DrillResult:
    request = DrillRequest(str(site.target), str(scratch), **options)
    return Drill(request, control or Control(), now=now).execute()


def test_a_drill_restores_opens_and_records_every_model(models: Site, tmp_path: Path):
    result = drill(models, tmp_path / "scratch")
    assert {each.model: (each.files, dict(each.headers), each.restored_at) for each in result.models} == {
        "hub/models--a": (1, {"safetensors": 1}, 5.0),
        "plain/b": (2, {"GGUF": 1, "opaque": 1}, 5.0),
        "c.gguf": (1, {"GGUF": 1}, 5.0),
        REST: (1, {"opaque": 1}, 5.0),
    }
    assert (result.files, result.known, result.never, result.oldest_at) == (5, 4, 0, 5.0)
    assert result.failed.count == 0
    assert result.bytes > 3 * BIG
    assert result.seconds > 0
    assert list((tmp_path / "scratch").iterdir()) == []
    drills = read_drills(models.target)
    assert set(drills.restored.values()) == {5.0}
    assert drills.past[-1]["files"] == 5


def test_drills_within_a_budget_come_to_every_model_in_turn(models: Site, tmp_path: Path):
    seen = set()
    for turn in range(3):
        result = drill(models, tmp_path / "scratch", now=float(turn + 1), budget=BIG + 1000, seed=turn)
        seen |= {each.model for each in result.models if each.bytes > BIG}
        assert result.never == 2 - turn
    assert seen == {"hub/models--a", "plain/b", "c.gguf"}
    assert result.oldest_at == 1.0
    assert result.restored_at[REST] >= 1.0


def test_a_damaged_model_fails_the_drill_by_name_and_is_not_proven(models: Site, tmp_path: Path):
    snapshot = models.snapshots()[-1]
    stored = models.files(snapshot) / "c.gguf"
    stored.chmod(0o600)
    with stored.open("r+b") as file:
        file.seek(100_000)
        file.write(b"flip")
    result = drill(models, tmp_path / "scratch")
    assert "no stored copy of it is right" in result.failed.first["c.gguf"]
    assert (result.failed.count, result.never, result.oldest_at) == (1, 1, None)
    assert "c.gguf" not in result.restored_at


def test_what_restores_and_is_no_model_is_named_apart(models: Site, tmp_path: Path):
    (models.source / "page.gguf").write_bytes(b"<!doctype html>" + bytes(BIG))
    models.backup()
    result = drill(models, tmp_path / "scratch")
    assert result.failed.count == 0
    assert list(result.unloadable.first) == ["page.gguf"]
    assert "page" in result.unloadable.first["page.gguf"]


def test_a_folder_with_other_files_is_not_used(models: Site, tmp_path: Path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "own").write_text("mine")
    with pytest.raises(Conflict, match="it holds other files"):
        drill(models, scratch)
    (scratch / MARKER).touch()
    with pytest.raises(Conflict, match="it holds other files"):
        drill(models, scratch)
    assert (scratch / "own").read_text() == "mine"
    with pytest.raises(Misconfigured, match="overlap"):
        drill(models, models.target / "scratch")


def test_what_a_killed_drill_has_left_is_removed(models: Site, tmp_path: Path):
    scratch = tmp_path / "scratch"
    (scratch / "restored/hub").mkdir(parents=True)
    (scratch / "restored/hub/half").write_bytes(b"half")
    (scratch / MARKER).touch()
    assert drill(models, scratch).failed.count == 0
    assert list(scratch.iterdir()) == []


def test_a_cancelled_drill_leaves_nothing(models: Site, tmp_path: Path):
    control = Control(lambda progress: setattr(control, "cancelled", progress.phase == "restoring"))
    with pytest.raises(Cancelled):
        drill(models, tmp_path / "scratch", control=control)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (models.target / DRILLS).exists()


def test_a_drill_without_room_or_snapshot_is_refused(models: Site, tmp_path: Path):
    with pytest.raises(Unavailable, match="are needed, 0 B are free"):
        drill(models, tmp_path / "scratch", reserve=1 << 60)
    with pytest.raises(NotFound):
        drill(models, tmp_path / "scratch", source="/else")


def test_contents_that_no_snapshot_has_are_forgotten(models: Site, tmp_path: Path):
    drill(models, tmp_path / "scratch")
    before = read_drills(models.target)
    before.restored["f" * 64] = 1.0
    before.forget(before.restored.keys() - {"f" * 64})
    assert "f" * 64 not in before.restored
    assert len(before.restored) == 5


# The sample


def manifest(*files: FileEntry) -> Manifest:
    return Manifest("20270101T000000Z", "/s", 1.0, files)


def weights(path: str, name: str, size: int = BIG) -> FileEntry:
    return FileEntry(path, size, 1, 0o644, name.rjust(64, "0"))


def test_models_are_folders_of_large_files_and_those_of_a_cache():
    found = models_of(
        manifest(
            weights("hub/models--a/blobs/x", "1"),
            weights("hub/models--a/refs/main", "2", 40),
            weights("hub/blobs/ab/y", "3"),
            weights("hub/version.txt", "4", 1),
            weights("b/deep/z.gguf", "5"),
            weights("b/deep/docs/readme", "6", 9),
            weights("c.gguf", "7"),
        )
    )
    assert {model.name: [file.path for file in model.files] for model in found} == {
        "hub/models--a": ["hub/models--a/blobs/x", "hub/models--a/refs/main"],
        "hub/blobs/ab": ["hub/blobs/ab/y"],
        "b/deep": ["b/deep/z.gguf", "b/deep/docs/readme"],
        "c.gguf": ["c.gguf"],
        REST: ["hub/version.txt"],
    }


SIZES = st.lists(st.integers(1, 5 * BIG), min_size=1, max_size=8)


@given(SIZES, st.integers(0, 12 * BIG), st.integers(0, 9), st.data())
def test_a_sample_is_within_its_budget_or_one_file_and_begins_with_the_oldest(
    sizes: list[int], budget: int, seed: int, data: st.DataObject
):
    files = [weights(f"m{index}/w", str(index), size) for index, size in enumerate(sizes)]
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(files), max_size=len(files)))
    restored = {file.sha256: float(time) for file, time in zip(files, times, strict=True) if time}
    models = models_of(manifest(*files))
    chosen = sample(models, restored, {}, budget=budget, seed=seed)
    assert chosen == sample(models, restored, {}, budget=budget, seed=seed)
    assert len(chosen) == 1 or sum(file.size for file in chosen) <= budget
    assert restored.get(chosen[0].sha256, 0.0) == min(float(time) for time in times)


@given(SIZES, st.integers(0, 12 * BIG))
def test_drills_come_to_every_file_whatever_the_budget(sizes: list[int], budget: int):
    files = [weights(f"m{index % 3}/w{index}", str(index), size) for index, size in enumerate(sizes)]
    models = models_of(manifest(*files))
    restored: dict[str, float] = {}
    failed: dict[str, float] = {}
    for turn in range(len(files)):
        for file in sample(models, restored, failed, budget=budget, seed=turn):
            (failed if file.path.endswith("0") else restored)[file.sha256] = float(turn + 1)
    assert {*restored, *failed} == {file.sha256 for file in files}
    assert ages(models, {**restored, **failed}).never == 0


# The record


@given(
    st.builds(
        Drills,
        st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
        st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_a_record_is_read_as_it_was_written(drills: Drills):
    assert load_drills(dump_drills(drills)) == drills


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_record_counts_as_none(place: int, flip: int):
    data = bytearray(dump_drills(Drills({"a": 1.0})))
    data[place % (len(data) - 1)] ^= flip
    with pytest.raises(ValueError, match=DRILLS):
        load_drills(bytes(data))


@given(st.binary())
def test_garbage_is_no_record(data: bytes):
    with pytest.raises(ValueError, match=DRILLS):
        load_drills(data)


# Headers


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.gguf", gguf(8), "GGUF"),
        ("blob", gguf(8), "GGUF"),
        ("a.safetensors", safetensors(8), "safetensors"),
        ("a.json", b"{}", "opaque"),
        ("a.gguf", b"GGUF", "shorter than its own header"),
        ("a.gguf", bytes(100), "all zeros"),
        ("a.safetensors", b"", "empty"),
        ("a.safetensors", b"\xff" * 8 + b"{}", "larger than any"),
    ],
    ids=lambda each: each if isinstance(each, str) else f"{len(each)} bytes",
)
def test_headers(tmp_path: Path, name: str, content: bytes, expected: str):
    (tmp_path / name).write_bytes(content)
    if expected in ("GGUF", "safetensors", "opaque"):
        assert read_header(tmp_path / name) == expected
    else:
        with pytest.raises(ValueError, match=expected):
            read_header(tmp_path / name)


@given(st.sampled_from(["a.gguf", "a.safetensors", "a"]), st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_clear_error(name: str, content: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        found = ""
        with contextlib.suppress(ValueError):
            found = read_header(path)
        assert found in ("", "GGUF", "safetensors", "opaque")
        damaged = content.startswith((b"GGUF", b"version https://git-lfs.github.com/spec/"))
        assert found or path.suffix or damaged


def test_a_record_is_json_after_its_checksum():
    text = dump_drills(Drills({"a": 1.0}, {}, [{"at": 1.0}])).partition(b"\n")[2]
    assert json.loads(text)["version"] == 1
