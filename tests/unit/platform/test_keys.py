"""Strength of keys: those of a generator are never weak, and those of people are."""

from __future__ import annotations

import base64
import hashlib
import random
import stat
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.platform.keys import (
    LEAST_BITS,
    FileFault,
    Weakness,
    file_faults,
    shared,
    strength,
    weaknesses,
)

NOW = 1_796_000_000.0


def generated(source: random.Random) -> list[str]:
    """Return a key of every kind that generators give."""
    return [
        source.randbytes(32).hex(),
        source.randbytes(48).hex(),
        source.randbytes(16).hex(),
        base64.urlsafe_b64encode(source.randbytes(32)).decode().rstrip("="),
        base64.b64encode(source.randbytes(48)).decode(),
        base64.urlsafe_b64encode(source.randbytes(16)).decode().rstrip("="),
        "sk-" + base64.urlsafe_b64encode(source.randbytes(32)).decode().rstrip("="),
        str(uuid.UUID(bytes=source.randbytes(16), version=4)),
    ]


def test_no_key_of_a_generator_is_weak() -> None:
    source = random.Random(7)
    found = [
        (key, weaknesses(key)) for _ in range(1500) for key in generated(source) if weaknesses(key) != ()
    ]
    assert found == []


def test_a_random_key_is_no_hash_of_the_time_of_its_file() -> None:
    source = random.Random(8)
    assert all(weaknesses(key, made_at=NOW) == () for key in generated(source))


@pytest.mark.parametrize(
    ("key", "weakness"),
    [
        ("", Weakness.EMPTY),
        ("a" * 64, Weakness.LOW_ENTROPY),
        ("0123456789abcdef" * 4, Weakness.LOW_ENTROPY),
        ("abcdefghijklmnopqrstuvwxyz0123456789", Weakness.LOW_ENTROPY),
        ("deadbeef" * 8, Weakness.LOW_ENTROPY),
        ("01" * 64, Weakness.LOW_ENTROPY),
        ("s3cr3t", Weakness.SHORT),
        ("EMPTY", Weakness.SHORT),
        ("token-abc123", Weakness.SHORT),
        ("sk-1234", Weakness.SHORT),
        ("changeme-changeme-changeme-changeme", Weakness.PLACEHOLDER),
        ("my-super-secret-api-key-for-production", Weakness.PLACEHOLDER),
        ("correct-horse-battery-staple-password", Weakness.PLACEHOLDER),
        ("your_api_key_here_your_api_key_here", Weakness.PLACEHOLDER),
        ("1796000000", Weakness.TIMESTAMP),
        ("1796000000123", Weakness.TIMESTAMP),
        ("1796000000123456789", Weakness.TIMESTAMP),
        ("1796000000.123456", Weakness.TIMESTAMP),
        ("vllm-1796000000", Weakness.TIMESTAMP),
        ("vllm-api-key-2026-11-28T21:15:00Z", Weakness.TIMESTAMP),
        ("20261128211500", Weakness.TIMESTAMP),
        ("key_20261128", Weakness.TIMESTAMP),
        ("c232ab00-9414-11ec-b3c8-9f68deced846", Weakness.TIMESTAMP),
        (f"{random.Random(1).randbytes(32).hex()} ", Weakness.UNFIT),
        (f"{random.Random(1).randbytes(32).hex()}\n", Weakness.UNFIT),
        (f"{random.Random(1).randbytes(32).hex()}é", Weakness.UNFIT),
    ],
)
def test_a_key_that_could_be_guessed_is_weak(key: str, weakness: Weakness) -> None:
    found = strength(key)
    assert weakness in found.weaknesses
    if weakness is not Weakness.UNFIT:
        assert found.bits < LEAST_BITS


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_hash_of_the_time_of_its_file_is_found(name: str, end: str) -> None:
    digest = hashlib.new(name, f"{int(NOW) - 90}{end}".encode())
    shell = base64.b64encode(f"{digest.hexdigest()}  -\n".encode()).decode()[:32]
    for key in (digest.hexdigest(), shell, base64.b64encode(digest.digest()).decode()):
        assert Weakness.TIMESTAMP in weaknesses(key, made_at=NOW)
        assert Weakness.TIMESTAMP not in weaknesses(key, made_at=NOW + 86_400)


@given(st.text(max_size=300), st.none() | st.floats(0, 100))
def test_any_text_has_an_answer_that_does_not_hold_it(text: str, made_at: float | None) -> None:
    found = strength(text, made_at=made_at)
    assert found.bits >= 0
    assert bool(found.weaknesses) or found.bits >= LEAST_BITS
    assert len(text) < 12 or text not in repr(found)


def test_a_huge_key_is_judged_by_its_beginning() -> None:
    assert strength("a" * 10_000_000).weaknesses == (Weakness.LOW_ENTROPY,)
    assert Weakness.TIMESTAMP in strength("1" * 10 + "-" * 9).weaknesses


def test_names_that_share_a_key_are_named_and_the_key_is_not() -> None:
    assert shared({"A": ("one", "two"), "B": ("two",), "C": ("three",), "D": ("two",)}) == {
        "A": ("B", "D"),
        "B": ("A", "D"),
        "D": ("A", "B"),
    }
    assert shared({}) == {}


@pytest.mark.parametrize(
    ("mode", "faults"),
    [
        (0o600, set()),
        (0o400, set()),
        (0o640, {FileFault.GROUP_READABLE}),
        (0o644, {FileFault.GROUP_READABLE, FileFault.WORLD_READABLE}),
        (0o622, {FileFault.WRITABLE}),
        (0o700, {FileFault.EXECUTABLE}),
    ],
)
def test_rights_of_a_file(mode: int, faults: set[FileFault]) -> None:
    assert set(file_faults(stat.S_IFREG | mode, 0, owners=(0,))) == faults
    assert set(file_faults(stat.S_IFREG | mode, 5, owners=(0, 7))) == faults | {FileFault.OWNER}


def test_what_is_no_file_and_what_has_two_names() -> None:
    assert file_faults(stat.S_IFLNK | 0o777, 0, owners=(0,)) == (FileFault.NO_FILE,)
    assert file_faults(stat.S_IFREG | 0o600, 0, owners=(0,), links=2) == (FileFault.LINKED,)
