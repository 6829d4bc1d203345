"""The same content twice: certain by SHA-256, probable by samples, never a link."""

from __future__ import annotations

import os
from pathlib import Path

from aiidpd.components.models.duplicates import find_duplicates, unsampled
from aiidpd.components.models.scanned import ScannedFile
from aiidpd.formats.model_files import Algorithm, Proof
from tests.unit.components.models.site import MIB, made_up, safetensors, scanned

SAME = Proof(Algorithm.SHA256, "a" * 64)


def by_proof(file: ScannedFile) -> str:
    return file.proof.hex if file.proof else ""


def none(_file: ScannedFile) -> str:
    return ""


def test_the_same_proof_across_caches_is_certain() -> None:
    one, two = made_up("one", "/a/x", proof=SAME), made_up("two", "/b/y", proof=SAME)
    other = made_up("three", "/c/z", proof=Proof(Algorithm.SHA256, "b" * 64))
    (found,) = find_duplicates([one, two, other], by_proof, none)
    assert found.sha256 == "a" * 64
    assert found.reclaimable_bytes == 2 * MIB
    assert [copy.path for copy in found.copies] == ["/a/x", "/b/y"]
    assert [copy.models for copy in found.copies] == [("one",), ("two",)]


def test_hard_links_and_links_are_no_duplicates(tmp_path: Path) -> None:
    safetensors(tmp_path / "a.safetensors")
    os.link(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    (tmp_path / "c.safetensors").symlink_to("a.safetensors")
    found = scanned(tmp_path)
    assert len(found.models) == 3
    assert find_duplicates(found.models, none, lambda _file: "s") == ()


def test_without_a_hash_samples_decide_and_it_is_only_probable() -> None:
    models = [made_up("one", "/a", proof=SAME), made_up("two", "/b"), made_up("three", "/c", size=3 * MIB)]
    assert [file.path for file in unsampled(models, by_proof, none)] == ["/a", "/b"]
    (found,) = find_duplicates(models, by_proof, lambda file: "same" if file.path in "/a/b" else "")
    assert (found.sha256, len(found.copies)) == ("", 2)
    assert find_duplicates(models, by_proof, lambda file: file.path) == ()


def test_what_is_certain_is_not_counted_again_as_probable() -> None:
    models = [made_up(name, f"/{name}", proof=SAME) for name in ("a", "b")] + [made_up("c", "/c")]
    found = find_duplicates(models, by_proof, lambda _file: "same")
    assert [(each.sha256 != "", len(each.copies)) for each in found] == [(True, 2), (False, 2)]
    assert sum(each.reclaimable_bytes for each in found) == 2 * 2 * MIB


def test_small_files_and_files_of_known_and_different_hashes_are_none() -> None:
    small = [made_up(name, f"/{name}", proof=SAME, size=1000) for name in ("a", "b")]
    assert find_duplicates(small, by_proof, none) == ()
    different = [made_up(name, f"/{name}", proof=Proof(Algorithm.SHA256, name * 64)) for name in ("a", "b")]
    assert find_duplicates(different, by_proof, lambda _file: "same") == ()
    assert unsampled(different, by_proof, none) == ()
