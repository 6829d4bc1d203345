"""rclone's arguments and output, by what the real one of 1.60 prints, and by any text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.offsite import rclone
from aiidpd.components.backup.offsite.result import LONGEST_WORDS, Checked, Ending, Failure, Fault, Sign
from aiidpd.components.backup.offsite.settings import RepositorySettings

FAR = RepositorySettings(name="far", engine="rclone", repository="nas:models")


def error(text: str) -> str:
    return json.dumps({"level": "error", "msg": text, "object": "a.bin"})


@pytest.mark.parametrize(
    ("expected", "code", "errors"),
    [
        (Failure.NO_REPOSITORY, 3, ("2026/11/28 14:46:19 Failed to cat: directory not found",)),
        (Failure.NO_REPOSITORY, 1, ("Failed to create file system: didn't find section in config file",)),
        (Failure.UNREACHABLE, 1, (error("dial tcp 127.0.0.1:1: connect: connection refused"),)),
        (Failure.UNREACHABLE, 5, ("Failed to copy",)),
        (Failure.FULL, 1, (error("preallocate: file too big for remaining disk space"),)),
        (Failure.WRONG_PASSWORD, 1, ("Failed to load config: couldn't decrypt configuration",)),
        (Failure.ENDED, -9, ()),
        (Failure.OTHER, 1, (error("something new"),)),
    ],
)
def test_why_it_failed_is_known_from_its_code_and_words(
    expected: Failure, code: int, errors: tuple[str, ...]
) -> None:
    assert rclone.fault_of(Ending(code, errors)).failure is expected


def test_no_upload_removes_anything() -> None:
    for lists in (False, True):
        words = rclone.sync(FAR, "20270115T080100Z", lists=lists)
        assert words[:3] == ("sync", ".", "nas:models/current")
        assert words[words.index("--backup-dir") + 1] == "nas:models/replaced/20270115T080100Z"
        assert not any(word.startswith("--delete-") for word in words)


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ("nas:", "nas:current"),
        ("nas:models", "nas:models/current"),
        ("nas:models/", "nas:models/current"),
        ("/srv/x", "/srv/x/current"),
    ],
)
def test_a_place_is_below_the_repository(repository: str, expected: str) -> None:
    assert rclone.place(repository, "current") == expected


def test_a_crypt_remote_is_known_by_its_type() -> None:
    listed = "disk:   local\nsecret: crypt\n"
    assert rclone.encrypted(listed, "secret:models")
    assert not rclone.encrypted(listed, "disk:models")
    assert not rclone.encrypted(listed, "/srv/secret")


def test_progress_is_read_from_the_log() -> None:
    stats = {"bytes": 4, "totalBytes": 9, "transfers": 1, "totalTransfers": 3}
    assert rclone.sign(json.dumps({"level": "warning", "msg": "x", "stats": stats})) == Sign(4, 9, 1, 3)
    assert rclone.sign('{"level": "info", "msg": "Copied (new)"}') is None


def test_what_was_copied_is_named_and_what_was_moved_there_is_not() -> None:
    def line(text: str) -> str:
        return json.dumps({"level": "info", "msg": text, "object": "files/a.bin"})

    for text in ("Copied (new)", "Copied (replaced existing)", "Multi-thread Copied (new)"):
        assert rclone.copied(line(text)) == "files/a.bin"
    for text in ("Moved (server-side)", "Deleted", "Copied"[:3]):
        assert rclone.copied(line(text)) == ""


def compared(*lines: str) -> rclone.Comparison:
    counts = rclone.Comparison()
    for line in lines:
        counts.add(line)
    return counts


def test_a_difference_is_damage_and_a_failed_reading_is_not() -> None:
    assert rclone.checked(compared("= a", "= b"), Ending(0), 2) == Checked(2, 2, "files")
    found = rclone.checked(compared("= a", "* files/b", "+ files/c"), Ending(1), 3)
    assert isinstance(found, Checked)
    assert found.damage == "files/b differs, files/c is missing"
    assert isinstance(rclone.checked(compared("= a", "! b"), Ending(1, (error("EOF"),)), 2), Fault)
    assert isinstance(rclone.checked(compared("= a", "! b"), Ending(0), 2), Fault)
    assert isinstance(rclone.checked(compared("* a"), Ending(-9), 2), Fault)
    many = rclone.checked(compared(*(f"* {number}" for number in range(100))), Ending(1), 100)
    assert isinstance(many, Checked)
    assert "and 95 more" in many.damage


@given(st.text(), st.integers(1, 256))
def test_each_file_is_in_one_part_for_good(path: str, parts: int) -> None:
    path = path.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    part = rclone.part_of(path, parts)
    assert 1 <= part <= parts
    assert part == rclone.part_of(path, parts)


@given(st.integers(-64, 255), st.lists(st.text(), max_size=8), st.integers(0, 99))
def test_any_output_gives_a_result_or_a_reason_in_one_bounded_printable_line(
    code: int, lines: list[str], total: int
) -> None:
    for line in lines:
        rclone.sign(line)
        rclone.copied(line)
        rclone.encrypted(line, "nas:x")
    found = rclone.checked(compared(*lines), Ending(code, tuple(lines)), total)
    words = found.words if isinstance(found, Fault) else found.damage
    assert not words or words.isprintable()
    assert len(words) <= LONGEST_WORDS + 60
    if isinstance(found, Checked) and not found.damage:
        assert code == 0
