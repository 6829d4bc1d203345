"""Hashes that names state: in caches of the real huggingface_hub, and in Ollama's."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiidpd.components.backup.process.claims import claims
from aiidpd.components.backup.process.plan import Entry, Kind
from aiidpd.formats.model_files import Algorithm, Proof
from tests.fakes.hub import Hub, download
from tests.unit.components.backup.conftest import Site

WEIGHTS = random.Random(1).randbytes(100_000)
REPOSITORY = "org/name"
FOLDER = "models--org--name"


def file(path: str) -> Entry:
    return Entry(path, Kind.FILE, 1)


def link(path: str, target: str) -> Entry:
    return Entry(path, Kind.SYMLINK, target=target)


def test_names_that_prove_and_names_that_do_not() -> None:
    digest, git = "a" * 64, "b" * 40
    found = claims(
        [
            file(f"hub/{FOLDER}/blobs/{digest}"),
            file(f"hub/{FOLDER}/blobs/{git}"),
            file(f"hub/blobs/cc/{'c' * 64}"),  # a Xet hash is neither
            file(f"ollama/blobs/sha256-{digest}"),
            file(f"plain/{digest}"),
        ],
        [link(f"hub/{FOLDER}/blobs/{'d' * 64}", f"../../blobs/cc/{'c' * 64}")],
        "models",
    )
    assert found == {
        f"hub/{FOLDER}/blobs/{digest}": Proof(Algorithm.SHA256, digest),
        f"hub/{FOLDER}/blobs/{git}": Proof(Algorithm.GIT_SHA1, git),
        f"hub/blobs/cc/{'c' * 64}": Proof(Algorithm.SHA256, "d" * 64),
        f"ollama/blobs/sha256-{digest}": Proof(Algorithm.SHA256, digest),
    }
    assert claims([file(f"blobs/{digest}")], [], FOLDER) == {
        f"blobs/{digest}": Proof(Algorithm.SHA256, digest)
    }
    assert claims([], [link(f"blobs/{digest}", "../../../out")], FOLDER) == {}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub-server") as hub:
        hub.publish(REPOSITORY, {"model.safetensors": WEIGHTS, "config.json": b"{}"}, xet=True)
        yield hub


def cache(hub: Hub, tmp_path: Path, *, shared: bool) -> Site:
    download(hub, tmp_path / "home", REPOSITORY, shared=shared)
    site = Site(tmp_path / "home" / "hub", tmp_path / "target")
    site.target.mkdir()
    return site


@pytest.mark.parametrize("shared", [False, True])
def test_a_cache_is_backed_up_with_its_links_and_proven_by_its_names(
    hub: Hub, tmp_path: Path, *, shared: bool
) -> None:
    site = cache(hub, tmp_path, shared=shared)
    result = site.backup()
    assert result.left_out == {}
    (weights,) = site.files(result.snapshot).glob(f"{FOLDER}/snapshots/*/model.safetensors")
    assert weights.is_symlink()
    assert weights.read_bytes() == WEIGHTS
    assert not list(site.files(result.snapshot).rglob("*.lock"))


@pytest.mark.parametrize("shared", [False, True])
def test_a_payload_that_is_not_what_its_name_says_is_named_in_the_first_backup(
    hub: Hub, tmp_path: Path, *, shared: bool
) -> None:
    site = cache(hub, tmp_path, shared=shared)
    (blob,) = (each for each in (site.source / FOLDER / "blobs").iterdir() if len(each.name) == 64)
    payload = blob.resolve()
    payload.chmod(0o644)
    payload.write_bytes(WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1]))
    result = site.backup()
    (path,) = result.left_out
    assert path == str(payload.relative_to(site.source))
    assert "is not what its name says: download it again (sha256" in result.left_out[path]
    assert hashlib.sha256((site.files(result.snapshot) / path).read_bytes()).hexdigest() != blob.name


def test_a_small_file_is_proven_by_the_hash_of_git(hub: Hub, tmp_path: Path) -> None:
    site = cache(hub, tmp_path, shared=False)
    (blob,) = (each for each in (site.source / FOLDER / "blobs").iterdir() if len(each.name) == 40)
    blob.chmod(0o644)
    blob.write_bytes(b"[]")
    assert list(site.backup().left_out) == [f"{FOLDER}/blobs/{blob.name}"]


def test_a_source_that_is_one_repository_says_what_it_lacks(hub: Hub, tmp_path: Path) -> None:
    site = cache(hub, tmp_path, shared=True)
    site.source /= FOLDER
    left_out = site.backup().left_out
    blobs = [reason for path, reason in left_out.items() if path.startswith("blobs/")]
    assert blobs
    assert all("the cache has what several models share: back that up" in reason for reason in blobs)
