"""restic's arguments and output, by what the real one of 0.14 and later ones print, and by any bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.offsite import restic
from aiidpd.components.backup.offsite.result import LONGEST_WORDS, Checked, Ending, Failure, Fault, Sent, Sign
from aiidpd.components.backup.offsite.settings import RepositorySettings

FAR = RepositorySettings(name="far", repository="/srv/far")
WHERE = "Is there a repository at the following location?"


def failure(code: int, *errors: str) -> Failure:
    return restic.fault_of(Ending(code, errors)).failure


@pytest.mark.parametrize(
    ("expected", "code", "errors"),
    [
        (
            Failure.NO_REPOSITORY,
            1,
            ("Fatal: unable to open config file: stat r/config: no such file or directory", WHERE),
        ),
        (Failure.NO_REPOSITORY, 10, ("Fatal: repository does not exist",)),
        (
            Failure.UNREACHABLE,
            1,
            (
                "Fatal: unable to open config file: client.Head: dial tcp 127.0.0.1:1: connection refused",
                WHERE,
            ),
        ),
        (Failure.UNREACHABLE, 10, ("Fatal: unable to open config file: dial tcp: no such host", WHERE)),
        (Failure.WRONG_PASSWORD, 1, ("Fatal: wrong password or no key found",)),
        (Failure.WRONG_PASSWORD, 12, ("Fatal: an unable to open repository",)),
        (Failure.LOCKED, 1, ("unable to create lock in backend: repository is already locked by PID 1",)),
        (Failure.LOCKED, 11, ('{"message_type":"exit_error","code":11,"message":"Fatal: locked"}',)),
        (Failure.INCOMPLETE, 3, ("Warning: at least one source file could not be read",)),
        (Failure.FULL, 1, ("Fatal: unable to save snapshot: write /x: no space left on device",)),
        (Failure.DAMAGED, 1, ("Pack ID does not match, want 7, got 6", "Fatal: repository contains errors")),
        (Failure.UNREACHABLE, 1, ("Load: connection reset by peer", "Fatal: repository contains errors")),
        (Failure.ENDED, -9, ()),
        (Failure.OTHER, 1, ("something new",)),
        (Failure.OTHER, 2, ()),
    ],
)
def test_why_it_failed_is_known_from_its_code_and_words(
    expected: Failure, code: int, errors: tuple[str, ...]
) -> None:
    assert failure(code, *errors) is expected


def test_neither_repository_nor_password_is_an_argument() -> None:
    commands = [
        restic.init(),
        restic.backup(host="h", snapshot="20270115T080100Z", settings=FAR, parent="abcdef12"),
        restic.snapshots("h"),
        restic.forget("h", FAR),
        restic.check(1, 2, FAR),
        restic.unlock(),
        restic.restore("abcdef12", "/to"),
    ]
    assert not any("/srv/far" in word or "password" in word for command in commands for word in command)


def test_rates_are_in_the_kib_that_restic_takes_and_never_none() -> None:
    slow = FAR.model_copy(update={"rate": 100})
    assert restic.backup(host="h", snapshot="s", settings=slow)[-3:] == ("--limit-upload", "1", ".")
    assert restic.check(2, 7, FAR.model_copy(update={"rate": 2**20})) == (
        "check",
        "--read-data-subset=2/7",
        "--limit-download",
        "1024",
    )


@given(st.integers(0, 99), st.integers(0, 9))
def test_the_newest_always_stays(last: int, daily: int) -> None:
    words = restic.forget("h", FAR.model_copy(update={"keep_last": last, "keep_daily": daily}))
    assert int(words[words.index("--keep-last") + 1]) == max(last, 1)
    assert ("--keep-daily" in words) == bool(daily)


def test_progress_and_summary_are_read() -> None:
    line = b'{"message_type":"status","percent_done":0.2,"total_files":3,"total_bytes":40,"bytes_done":9}'
    assert restic.sign(line) == Sign(9, 40, 0, 3)
    done = {
        "message_type": "summary",
        "data_added": 7,
        "total_bytes_processed": 40,
        "total_files_processed": 3,
        "snapshot_id": "694d3eb4",
    }
    assert restic.summary(json.dumps(done).encode()) == Sent("694d3eb4", 7, 40, 3)
    for key, value in (("snapshot_id", "../../x"), ("data_added", -1), ("total_bytes_processed", 1.5)):
        assert restic.summary(json.dumps(done | {key: value}).encode()) is None


def test_the_newest_snapshot_is_that_of_the_latest_time() -> None:
    listed = [
        {"time": "2026-11-28T14:46:12Z", "id": "a" * 64},
        {"time": "2026-11-29T14:46:12Z", "id": "b" * 64},
        {"time": "2026-11-27T14:46:12Z", "id": "c" * 64},
    ]
    assert restic.newest(json.dumps(listed).encode()) == "b" * 64
    assert restic.newest(b"null") == restic.newest(b"[]") == ""
    for garbage in (b"", b"{}", b"[1]", b'[{"id": "x"}]', b"[" * 100_000):
        assert restic.newest(garbage) is None


def test_what_a_check_has_read_is_known() -> None:
    group = "read group #1 of 3 data packs (out of total 12 packs in 4 groups)"
    assert restic.checked([group, "[0:00] 100.00%  3 / 3 packs"], Ending(0)) == Checked(3, 12, "packs")
    assert restic.checked(["read all data", "[0:01] 100.00%  2 / 2 packs"], Ending(0)) == Checked(
        2, 2, "packs"
    )
    found = restic.checked(
        [group], Ending(1, ("Pack ID does not match", "Fatal: repository contains errors"))
    )
    assert isinstance(found, Checked)
    assert "Pack ID" in found.damage
    assert isinstance(restic.checked([group], Ending(-15)), Fault)


@given(st.binary(max_size=300))
def test_any_line_is_taken_without_an_error(line: bytes) -> None:
    restic.sign(line)
    restic.summary(line)
    restic.newest(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["message_type", "bytes_done", "total_bytes", "snapshot_id", "data_added", "files_done"]
        ),
        json_values | st.sampled_from(["status", "summary"]),
    )
)
def test_any_object_gives_figures_that_are_whole_numbers_or_none(document: dict[str, object]) -> None:
    line = json.dumps(document).encode()
    sign = restic.sign(line)
    if sign is not None:
        assert all(type(each) is int and each >= 0 for each in (sign.done, sign.total, sign.files))
    sent = restic.summary(line)
    assert sent is None or sent.new_bytes >= 0


@given(st.integers(-64, 255), st.lists(st.text(), max_size=5))
def test_any_end_has_a_reason_in_one_bounded_printable_line(code: int, errors: list[str]) -> None:
    fault = restic.fault_of(Ending(code, tuple(errors)))
    assert fault.words
    assert fault.words.isprintable()
    assert len(fault.words) <= LONGEST_WORDS + 40
    found = restic.checked(errors, Ending(code, tuple(errors)))
    assert isinstance(found, Checked) or found.failure is not Failure.DAMAGED
