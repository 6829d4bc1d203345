"""Caches that the real huggingface_hub made from a hub on loopback, with and without shared payloads.

What is shared comes through the real hf_xet: it rebuilds the files from a store of its own on this machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir

from aiidpd.formats import huggingface as layout
from aiidpd.formats.damage import Damage, Malformed
from aiidpd.formats.huggingface_cache import (
    CachedRepository,
    is_cache,
    is_repository,
    read_cache,
    read_repository,
)
from aiidpd.formats.model_files import Algorithm
from aiidpd.formats.walk import Budget
from tests.fakes.hub import Hub, HubRevision, download

WEIGHTS = bytes(range(256)) * 300
OLDER = {"config.json": b"{}", "model.safetensors": WEIGHTS[::-1]}
NEWER = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "sub/poetry.lock": b"x" * 2000}


class World:
    """A hub with two models that have the same weights, and caches of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub = Hub(folder / "hub")
        self.older: HubRevision
        self.newer: HubRevision

    def fill(self) -> None:
        self.older = self.hub.publish("owner/model", OLDER, branch="v1", xet=True)
        self.newer = self.hub.publish("owner/model", NEWER, xet=True)
        self.hub.publish("owner/copy", {"config.json": b"{}", "same.safetensors": WEIGHTS}, xet=True)
        for name, shared in (("shared", True), ("local", False)):
            download(self.hub, self.folder / name, "owner/model", shared=shared, revision="v1")
            download(self.hub, self.folder / name, "owner/model", shared=shared)
            download(self.hub, self.folder / name, "owner/copy", shared=shared)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    with world.hub:
        world.fill()
        yield world


@pytest.fixture(params=["shared", "local"])
def cache(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Path:
    """Return a copy of a cache, its links as they are."""
    shutil.copytree(world.folder / request.param / "hub", tmp_path / "hub", symlinks=True)
    return tmp_path / "hub"


def repository(cache: Path, name: str = "owner/model") -> CachedRepository:
    (found,) = [r for r in read_cache(cache).repositories if r.repository.id == name]
    return found


def test_it_finds_what_the_library_finds(cache: Path) -> None:
    judged = scan_cache_dir(cache)
    assert not judged.warnings
    found = read_cache(cache)
    assert found.complete
    assert {r.repository.id for r in found.repositories} == {r.repo_id for r in judged.repos}
    for theirs in judged.repos:
        ours = repository(cache, theirs.repo_id)
        assert {r.commit: set(r.refs) for r in ours.revisions} == {
            r.commit_hash: set(r.refs) for r in theirs.revisions
        }
        for revision in theirs.revisions:
            (same,) = [r for r in ours.revisions if r.commit == revision.commit_hash]
            assert {(str(cache / f.at), f.size_bytes) for f in same.files} == {
                (str(f.file_path.resolve()), f.size_on_disk) for f in revision.files
            }


def test_each_name_proves_the_content_that_it_reaches(cache: Path, world: World) -> None:
    newer, older = {}, {}
    for revision in repository(cache).revisions:
        files = newer if revision.commit == world.newer.commit else older
        for file in revision.files:
            files[file.path] = file
            content = (cache / file.at).read_bytes()
            assert file.proof is not None
            hasher = file.proof.hasher(len(content))
            hasher.update(content)
            assert hasher.hexdigest() == file.proof.hex
    assert set(newer) == set(NEWER)
    assert set(older) == set(OLDER)
    assert newer["model.safetensors"].proof == (
        Algorithm.SHA256,
        world.newer.files["model.safetensors"].sha256,
    )
    assert newer["config.json"].proof.algorithm is Algorithm.GIT_SHA1


def test_payloads_are_shared_where_the_library_shares_them(world: World) -> None:
    found = read_cache(world.folder / "shared" / "hub")
    assert found.marked
    assert found.unshared == ()
    model, copy = (
        repository(world.folder / "shared" / "hub", name) for name in ("owner/model", "owner/copy")
    )
    xet = {file.xet for file in (*world.newer.files.values(), *world.older.files.values()) if file.xet}
    assert set(model.shared) == {f"blobs/{name[:2]}/{name}" for name in xet}
    assert set(copy.shared) < set(model.shared)
    assert all(layout.place_of(at) is layout.Place.SHARED for at in model.shared)
    unshared = read_cache(world.folder / "local" / "hub")
    assert not unshared.marked
    assert all(r.shared == () and r.dangling == () for r in unshared.repositories)


def test_one_repository_alone_names_what_it_lacks(world: World, tmp_path: Path) -> None:
    folder = "models--owner--model"
    shutil.copytree(world.folder / "shared" / "hub" / folder, tmp_path / folder, symlinks=True)
    alone = read_repository(tmp_path / folder)
    assert set(alone.shared) == set(repository(world.folder / "shared" / "hub").shared)
    assert len([at for at in alone.dangling if "/blobs/" in at]) == 3
    assert len([at for at in alone.dangling if "/snapshots/" in at]) == 3
    model = next(model for model in alone.models() if model.revision == world.newer.commit)
    assert {problem.path for problem in model.problems} == {"model.safetensors", "sub/poetry.lock"}
    assert {problem.damage for problem in model.problems} == {Damage.MISSING}

    for payload in alone.shared:  # brought along, it is whole again
        (tmp_path / payload).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(world.folder / "shared" / "hub" / payload, tmp_path / payload)
    assert read_repository(tmp_path / folder).dangling == ()


def test_a_model_tells_revision_refs_and_size_once(cache: Path, world: World) -> None:
    models = {model.refs: model for model in repository(cache).models()}
    assert set(models) == {("main",), ("v1",)}
    assert models["main",].revision == world.newer.commit
    assert models["main",].name == models["main",].repository == "owner/model"
    assert models["main",].size_bytes == sum(map(len, NEWER.values()))


def test_leftovers_and_locks_are_no_part_of_it(cache: Path) -> None:
    before = repository(cache)
    blobs = cache / "models--owner--model" / "blobs"
    name = f"{'0' * 64}.1a2b3c4d.incomplete"
    (blobs / name).write_bytes(b"part")
    (cache / "models--owner--model" / "refs" / "main.1a2b3c4d.tmp").write_text("half")
    after = repository(cache)
    assert [(file.path, file.size_bytes) for file in after.incomplete] == [(name, 4)]
    assert (after.revisions, after.refs, after.shared) == (before.revisions, before.refs, before.shared)
    left_out = [
        str(path.relative_to(cache))
        for path in cache.rglob("*")
        if not path.is_dir() and layout.is_left_out(str(path.relative_to(cache)))
    ]
    assert f"models--owner--model/blobs/{name}" in left_out
    assert not [path for path in left_out if "/snapshots/" in path or path.endswith("/refs/main")]
    assert all(path.endswith((".lock", ".incomplete", ".tmp")) for path in left_out)
    assert len([path for path in left_out if path.startswith(".locks/")]) == 7


def test_a_blob_that_links_in_a_circle_or_away(cache: Path) -> None:
    blobs = cache / "models--owner--model" / "blobs"
    (blobs / "loop").symlink_to("loop")
    (blobs / ("e" * 40)).symlink_to("/etc/hostname")
    (blobs / ("f" * 40)).symlink_to("../../../../outside")
    found = repository(cache)
    assert f"models--owner--model/blobs/{'f' * 40}" in found.dangling
    assert "models--owner--model/blobs/loop" in found.dangling
    assert "/etc/hostname" in found.shared


def test_a_copy_instead_of_a_link_is_proven_by_the_listing_alone(cache: Path) -> None:
    """huggingface_hub copies files into revisions where links are not possible."""
    before = {file.path: file.proof for file in repository(cache, "owner/copy").revisions[0].files}
    for path in (cache / "models--owner--copy" / "snapshots").rglob("*.json"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    (revision,) = repository(cache, "owner/copy").revisions
    config = next(file for file in revision.files if file.path == "config.json")
    assert (config.proof, config.size_bytes) == (before["config.json"], 2)
    shutil.rmtree(cache / "models--owner--copy" / "trees")
    (revision,) = repository(cache, "owner/copy").revisions
    config = next(file for file in revision.files if file.path == "config.json")
    assert (config.proof, revision.listed) == (None, None)


def test_a_payload_of_another_size_and_files_that_were_never_there(cache: Path, world: World) -> None:
    """The library leaves its listing of a revision beside it."""
    (revision,) = [r for r in repository(cache).revisions if r.commit == world.newer.commit]
    assert revision.listed == {name: len(content) for name, content in NEWER.items()}
    assert (revision.absent, revision.problems()) == ((), ())
    at = {file.path: cache / file.at for file in revision.files}
    for name, content in (("model.safetensors", WEIGHTS[:-1]), ("sub/poetry.lock", b"x" * 2001)):
        at[name].chmod(0o644)
        at[name].write_bytes(content)
    (cache / "models--owner--model/snapshots" / revision.commit / "config.json").unlink()
    (revision,) = [r for r in repository(cache).revisions if r.commit == world.newer.commit]
    assert revision.absent == ("config.json",)
    assert [(problem.path, problem.damage) for problem in revision.problems()] == [
        ("model.safetensors", Damage.TRUNCATED),
        ("sub/poetry.lock", Damage.TRAILING),
    ]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"files":1}', b'{"files":{"a":' + b"[" * 9000, b"\xff"])
def test_a_bad_listing_is_named_and_nothing_believed(cache: Path, content: bytes) -> None:
    for path in cache.glob("*/trees/*.json"):
        path.write_bytes(content)
    found = read_cache(cache)
    assert len(found.unreadable) == 3
    assert {revision.listed is None for r in found.repositories for revision in r.revisions} == {True}


def test_recognised_by_what_is_in_it(cache: Path, tmp_path: Path) -> None:
    assert is_cache(cache)
    assert is_repository(cache / "models--owner--model")
    assert not is_repository(cache)
    assert not is_cache(tmp_path)
    assert not is_cache(cache / "models--owner--model")
    with pytest.raises(Malformed):
        read_repository(tmp_path)


def test_a_store_without_its_marker_is_none(cache: Path) -> None:
    marker = cache / "blobs" / layout.SHARED_MARKER
    if marker.exists():
        marker.unlink()
    assert not read_cache(cache).marked


def test_bounds_and_faults_are_named(cache: Path) -> None:
    assert not read_cache(cache, Budget(entries=5)).complete
    refs = cache / "models--owner--model" / "refs"
    (refs / "main").unlink()
    os.mkfifo(refs / "main")
    found = read_cache(cache)
    assert any("refs/main" in text for text in found.unreadable)
    assert repository(cache).refs == {"v1": repository(cache).refs["v1"]}


def test_a_payload_that_nobody_links_to_is_named(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.folder / "shared" / "hub", tmp_path / "hub", symlinks=True)
    shutil.rmtree(tmp_path / "hub" / "models--owner--model")
    found = read_cache(tmp_path / "hub")
    assert {file.size_bytes for file in found.unshared} == {len(WEIGHTS), 2000}
