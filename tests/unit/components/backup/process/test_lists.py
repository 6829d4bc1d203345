"""Agreement of the two lists: which is right, and what is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process.lists import check_lists, proves
from aiidpd.components.backup.process.manifest import (
    FileEntry,
    Manifest,
    dump_manifest,
    dump_sums,
    sums_of,
)

ID = "20270115T080000Z"
FILES = tuple(FileEntry(f"models/{name}", 10, 1, 0o644, name * 64) for name in "abc")
MANIFEST = Manifest(ID, "/mnt/models", 1.0, FILES, links={"link": "models/a"})
LISTED = dump_manifest(MANIFEST)
SUMS = dump_sums(sums_of(MANIFEST, LISTED))
HASHES = {file.path: file.sha256 for file in FILES}


def test_lists_that_agree_are_right():
    found = check_lists(ID, LISTED, SUMS)
    assert (found.manifest, found.hashes, found.broken, found.flaws) == (MANIFEST, HASHES, "", ())


@pytest.mark.parametrize(
    ("sums", "flaw"),
    [
        (SUMS.replace(b"a" * 64, b"a" * 63 + b"0"), "it has another hash for files/models/a"),
        (SUMS.replace(b"models/b", b"models/q"), "it lacks files/models/b"),
        (SUMS.replace(b"models/b", b"models/q"), "it lists files/models/q, which the snapshot lacks"),
        (SUMS[81:], "it lacks files/models/a"),
        (b"?" + SUMS, "line 1 is not a checksum line"),
        (SUMS[:-1], "its lines are not as they were written"),
    ],
)
def test_a_manifest_that_is_proven_is_right_and_the_sums_are_not(sums: bytes, flaw: str):
    found = check_lists(ID, LISTED, sums)
    assert flaw in found.flaws
    assert (found.broken, found.sums, found.hashes) == ("", SUMS, HASHES)


def test_a_manifest_that_is_not_proven_is_broken_and_the_sums_are_used():
    other = dump_manifest(replace(MANIFEST, files=(replace(FILES[0], sha256="0" * 64), *FILES[1:])))
    found = check_lists(ID, other, SUMS)
    assert "it has another hash for files/models/a" in found.broken
    assert "it has another hash for manifest.json" in found.broken
    assert found.hashes == HASHES
    assert found.sums is None
    found = check_lists(ID, b"{", SUMS)
    assert (found.manifest, found.hashes) == (None, HASHES)
    assert found.broken
    assert check_lists(ID, dump_manifest(replace(MANIFEST, snapshot="20260115T080000Z")), SUMS).broken


def test_without_any_proof_both_are_wrong():
    found = check_lists(ID, LISTED, b"")
    assert found.broken
    assert check_lists(ID, b"", b"?").broken
    assert check_lists(ID, b"", b"?").hashes == {}


def test_no_path_of_a_damaged_list_leads_out_of_the_snapshot():
    sums = dump_sums({"files/../../etc/passwd": "0" * 64, "files//etc/passwd": "1" * 64, "files/a": "2" * 64})
    assert check_lists(ID, b"", sums).hashes == {"a": "2" * 64}


@given(st.integers(0, len(LISTED) * 8 - 1))
def test_each_flipped_bit_of_the_manifest_is_found(bit: int):
    data = bytearray(LISTED)
    data[bit // 8] ^= 1 << bit % 8
    assert check_lists(ID, bytes(data), SUMS).broken
    assert not proves(SUMS, bytes(data))


@given(st.integers(0, len(SUMS) * 8 - 1))
def test_each_flipped_bit_of_the_sums_is_found_and_made_good(bit: int):
    data = bytearray(SUMS)
    data[bit // 8] ^= 1 << bit % 8
    found = check_lists(ID, LISTED, bytes(data))
    assert found.flaws
    assert (found.broken, found.sums, found.manifest) == ("", SUMS, MANIFEST)


@given(st.binary(), st.binary())
def test_any_content_has_an_answer(listed: bytes, sums: bytes):
    assert check_lists(ID, listed, sums).broken
    assert check_lists(ID, listed, SUMS).broken
    found = check_lists(ID, LISTED, sums)
    assert found.broken or found.flaws
