"""Names and links of a Hugging Face cache, judged by huggingface_hub's own functions."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import _shared_blobs as library
from huggingface_hub.utils.sha import git_hash
from hypothesis import example, given
from hypothesis import strategies as st

from aiidpd.formats import huggingface as layout
from aiidpd.formats.huggingface import Place, Repository
from aiidpd.formats.model_files import Algorithm, Proof

SHA256, SHA1 = "ab" * 32, "cd" * 20
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.]{0,10}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda name: ".." not in name and not name.endswith(".git")
)


@given(owner=st.none() | NAMES, name=NAMES, kind=st.sampled_from(["model", "dataset", "space", "kernel"]))
def test_folders_are_called_as_the_library_calls_them(owner: str | None, name: str, kind: str) -> None:
    repository = Repository(kind, f"{owner}/{name}" if owner else name)
    folder = layout.folder_of(repository)
    assert folder == repo_folder_name(repo_id=repository.id, repo_type=kind)
    assert layout.repository_of(folder) == repository


@pytest.mark.parametrize("name", ["", "models", "models--", "model--a", "blobs", "x--a--b", "models--a/b"])
def test_other_folders_are_no_repositories(name: str) -> None:
    assert layout.repository_of(name) is None


@pytest.mark.parametrize(
    ("name", "proof"),
    [
        (SHA256, Proof(Algorithm.SHA256, SHA256)),
        (SHA1, Proof(Algorithm.GIT_SHA1, SHA1)),
        (SHA256.upper(), None),
        ("d41d8cd98f00b204e9800998ecf8427e", None),  # an MD5, as some mirrors send
        ("abc-2", None),
        ("", None),
        (f"{SHA256}.1a2b3c4d.incomplete", None),
    ],
)
def test_names_that_prove_content(name: str, proof: Proof | None) -> None:
    assert layout.proof_of(name) == proof


@given(st.binary(max_size=200))
def test_a_proof_is_checked_while_the_content_passes(content: bytes) -> None:
    for proof in (
        Proof(Algorithm.SHA256, hashlib.sha256(content).hexdigest()),
        Proof(Algorithm.GIT_SHA1, git_hash(content)),
    ):
        hasher = proof.hasher(len(content))
        hasher.update(content)
        assert hasher.hexdigest() == proof.hex


PLACES = {
    f"models--a--b/blobs/{SHA256}": Place.BLOB,
    f"hub/models--a--b/blobs/{SHA1}": Place.BLOB,
    f"hub/models--a--b/blobs/{SHA256}.1a2b3c4d.incomplete": Place.TEMPORARY,
    f"hub/models--a--b/blobs/.{SHA256}.1a2b3c4d.shared": Place.TEMPORARY,
    f"hub/models--a--b/snapshots/{SHA1}/poetry.lock": Place.SNAPSHOT,
    f"hub/models--a--b/snapshots/{SHA1}/blobs/{SHA256}": Place.SNAPSHOT,
    "hub/models--a--b/refs/main": Place.REF,
    "hub/models--a--b/refs/refs/pr/1": Place.REF,
    "hub/models--a--b/refs/main.1a2b3c4d.tmp": Place.TEMPORARY,
    f"hub/models--a--b/trees/{SHA1}.json": Place.OTHER,
    f"hub/models--a--b/.no_exist/{SHA1}/x": Place.OTHER,
    f"hub/blobs/ab/{SHA256}": Place.SHARED,
    f"hub/blobs/ac/{SHA256}": Place.OTHER,
    f"hub/blobs/ab/{SHA256}.lock": Place.TEMPORARY,
    f"hub/blobs/ab/{SHA256}.refs": Place.OTHER,
    f"hub/blobs/{layout.SHARED_MARKER}": Place.OTHER,
    f"hub/.locks/models--a--b/{SHA256}.lock": Place.TEMPORARY,
    ".locks/anything": Place.TEMPORARY,
    f"blobs/sha256-{SHA256}": Place.OTHER,
    "folder/model.gguf": Place.OTHER,
    "folder/model.gguf.incomplete": Place.TEMPORARY,
    ".incomplete": Place.OTHER,
}


@pytest.mark.parametrize("path", PLACES)
def test_places(path: str) -> None:
    assert layout.place_of(path) is PLACES[path]
    assert layout.is_left_out(path) is (PLACES[path] is Place.TEMPORARY)
    assert (layout.proof_at(path) is not None) is (PLACES[path] is Place.BLOB)


@given(st.binary(max_size=60).map(os.fsdecode), st.binary(max_size=60).map(os.fsdecode))
@example("/", "\0")
@example("../link", "name")
def test_any_name_has_a_place(path: str, target: str) -> None:
    assert layout.place_of(path) in Place
    layout.shared_target(path, target)
    inside = layout.follow(path, target)
    assert inside is None or (not inside.startswith("/") and ".." not in inside.split("/"))


@given(
    blob=st.sampled_from([SHA256, SHA1, "etag"]),
    target=st.sampled_from(
        [
            f"../../blobs/ab/{SHA256}",
            f"../../blobs/ac/{SHA256}",
            f"../blobs/ab/{SHA256}",
            f"../../../blobs/ab/{SHA256}",
            f"../../blobs/ab/../ab/{SHA256}",
            f"../../blobs/{SHA256}",
            SHA256,
        ]
    ),
)
def test_shared_targets_are_those_of_the_library(
    tmp_path_factory: pytest.TempPathFactory, blob: str, target: str
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    link = cache / "models--a--b" / "blobs" / blob
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    judged = library._shared_blob_target(link, cache)
    found = layout.shared_target(f"models--a--b/blobs/{blob}", target)
    assert (found and cache / found) == judged


def test_an_absolute_link_into_the_shared_store_counts() -> None:
    target = str(Path("/big/hub/blobs/ab") / SHA256)
    assert layout.shared_target("models--a--b/blobs/x", target) == f"blobs/ab/{SHA256}"
    assert layout.shared_target("models--a--b/blobs/x", "/big/hub/other") is None
