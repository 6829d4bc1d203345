"""State files: the mechanism, then each of the five against files of old and against hostile ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.alerts.record import AlertRecord, AlertRecords
from aiidpd.alerts.state import Stage
from aiidpd.components.containers.pause.journal import EngineEntry, PausesEntry
from aiidpd.components.containers.pause.state import Pause
from aiidpd.components.thermal.energy.attribution import Share, Sharing
from aiidpd.components.thermal.energy.counter import EnergyCounter
from aiidpd.components.thermal.energy.state import EnergyState, GpuEnergyRecord
from aiidpd.components.thermal.forecast.baseline import Baselines
from aiidpd.components.thermal.governor.journal import Baseline, JournalEntry
from aiidpd.kernel.events import Severity
from aiidpd.platform.codec import Mismatch, compose, decoder, parse
from aiidpd.platform.statefile import StateFile, StateUnreadable, call_seconds
from tests.golden.golden import FOLDER
from tests.waiting import PATIENCE


@dataclass(frozen=True, slots=True)
class Counted:
    version: Literal[1]
    number: float


def file(folder: Path, **more: Any) -> StateFile[Counted]:
    return StateFile(folder / "state.json", Counted, **more)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_last_is_there_in_the_end(tmp_path: Path) -> None:
    state = file(tmp_path)
    assert state.load() is None
    for number in range(200):
        state.save_soon(Counted(1, number))
    state.wait(PATIENCE)
    assert file(tmp_path).load() == Counted(1, 199.0)
    assert state.problem == ""
    assert names(tmp_path) == ["state.json"]
    assert state.path.stat().st_mode & 0o777 == 0o640


def test_a_save_is_on_the_disk_when_it_returns_and_nothing_is_left_after_the_last(tmp_path: Path) -> None:
    state = file(tmp_path, mode=0o644, indent=1)
    state.save(Counted(1, 7.0))
    assert state.path.read_text() == '{\n "version": 1,\n "number": 7.0\n}\n'
    assert state.path.stat().st_mode & 0o777 == 0o644
    state.save(None)
    state.save(None)
    assert names(tmp_path) == []


def test_a_save_that_was_overtaken_does_not_bring_back_what_was_given_up(tmp_path: Path) -> None:
    state = file(tmp_path)
    late = state.saving(Counted(1, 1.0))
    state.save(None)
    late()
    assert state.load() is None
    later = state.saving(Counted(1, 2.0))
    state.save_soon(Counted(1, 3.0))
    state.wait(PATIENCE)
    later()
    assert state.load() == Counted(1, 3.0)


def test_saves_of_many_threads_leave_one_whole_file(tmp_path: Path) -> None:
    state = file(tmp_path)
    saves = [state.saving(Counted(1, number)) for number in range(40)]
    threads = [threading.Thread(target=save) for save in saves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert state.load() == Counted(1, 39.0)
    assert names(tmp_path) == ["state.json"]


def test_a_folder_that_refuses_is_a_problem_until_it_takes_it(tmp_path: Path) -> None:
    state = file(tmp_path / "gone")
    state.save_soon(Counted(1, 1.0))
    state.wait(PATIENCE)
    assert "cannot write" in state.problem
    with pytest.raises(OSError, match="gone"):
        state.save(Counted(1, 1.0))
    (tmp_path / "gone").mkdir()
    state.save_soon(Counted(1, 2.0))
    state.wait(PATIENCE)
    assert state.problem == ""
    assert state.load() == Counted(1, 2.0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Counted(1, float("nan")), "could not be read again"),
        (Counted(2, 1.0), "version: 2 where 1 belongs"),  # type: ignore[arg-type]
        (Counted(1, "x"), 'number: "x" where a number belongs'),  # type: ignore[arg-type]
        (Counted(1, b"x"), "no document holds a bytes"),  # type: ignore[arg-type]
        (Counted(1, 1.0123456789012345), "larger than 40 bytes"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, value: Counted, reason: str) -> None:
    state = file(tmp_path, limit=40)
    state.save(Counted(1, 1.0))
    with pytest.raises(OSError, match=reason):
        state.save(value)
    state.save_soon(value)
    state.wait(PATIENCE)
    assert reason in state.problem
    assert state.load() == Counted(1, 1.0)


def test_what_is_too_large_does_not_fit(tmp_path: Path) -> None:
    state = file(tmp_path, limit=40)
    assert state.fits(Counted(1, 1.0))
    assert not state.fits(Counted(1, 1.0123456789012345))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    content = b'{"version": 1, "number": 1}'
    (tmp_path / "state.json").write_bytes(content)
    assert file(tmp_path, limit=len(content)).load() == Counted(1, 1.0)
    with pytest.raises(StateUnreadable, match=f"larger than {len(content) - 1} bytes"):
        file(tmp_path, limit=len(content) - 1).load()


def test_what_can_not_be_read_says_which_file_why_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"version": 1, "number": []}')
    with pytest.raises(StateUnreadable) as caught:
        file(tmp_path, remedy="remove it").load()
    error = caught.value
    assert (error.subject, error.reason, error.remedy) == (
        str(tmp_path / "state.json"),
        "number: a list where a number belongs",
        "remove it",
    )


def test_a_folder_where_the_file_belongs_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(StateUnreadable, match="Is a directory"):
        file(tmp_path).load()


def test_what_can_not_be_read_is_set_aside_under_one_name(tmp_path: Path) -> None:
    state = file(tmp_path)
    for content in (b"old", b"new"):
        state.path.write_bytes(content)
        found, problem = state.load_or_set_aside()
        assert found is None
        assert problem.endswith("it is now state.json.unreadable")
    assert names(tmp_path) == ["state.json.unreadable"]
    assert (tmp_path / "state.json.unreadable").read_bytes() == b"new"
    assert state.load_or_set_aside() == (None, "")
    state.save(Counted(1, 1.0))
    assert state.load_or_set_aside() == (Counted(1, 1.0), "")


def test_what_can_not_be_set_aside_either_is_in_the_problem(tmp_path: Path) -> None:
    state = file(tmp_path)
    state.path.write_bytes(b"{")
    (tmp_path / "state.json.unreadable").mkdir()
    found, problem = state.load_or_set_aside()
    assert found is None
    assert "can't be set aside" in problem
    assert state.path.read_bytes() == b"{"


@pytest.mark.parametrize(
    ("value", "seconds"), [(2.5, 2.5), (600.0, 600.0), (601.0, None), (0.0, None), (-1.0, None), (None, None)]
)
def test_seconds_that_make_no_sense_are_not_taken(value: float | None, seconds: float | None) -> None:
    assert call_seconds(value) == seconds


# The five.

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(0, 1e12)
whole = st.integers(-(2**63), 2**63 - 1)
scalars = st.none() | st.booleans() | whole | finite | st.text()
few = {"max_size": 4}


def keyed(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.text(), values, max_size=4)


record = st.builds(
    AlertRecord,
    since=finite,
    known=finite,
    held=positive,
    unknown=positive,
    stage=st.sampled_from([Stage.PENDING, Stage.FIRING]),
    severity=st.sampled_from(Severity),
    evidence=keyed(scalars),
)
counter = st.builds(
    EnergyCounter,
    counted=positive,
    integrated=positive,
    unknown=positive,
    resets=st.integers(0, 1000),
    counter=st.none() | positive,
    counter_at=finite,
    bridged=positive,
    power=st.none() | finite,
    at=st.none() | finite,
)
share = st.builds(Share, positive, positive, positive, st.sampled_from(Sharing))
measured = st.floats(1e-6, 1e11)
baseline = st.builds(Baseline, index=whole, power_limit_watts=st.none() | st.floats(1, 9e4))
pause = st.builds(Pause, id=st.text(min_size=1), started_at=finite)
engine = st.builds(EngineEntry, st.text().map(lambda text: "/" + text.replace("\0", "")), st.floats(0.1, 600))
one = st.just(1)


@dataclass(frozen=True)
class Case:
    """One of the five: its golden files are named ``name``. ``advisory`` keys may be anything."""

    name: str
    kind: type[Any]
    values: st.SearchStrategy[Any]
    advisory: frozenset[str] = frozenset()
    indent: int | None = None

    @property
    def key(self) -> str:
        return "format" if self.kind is EnergyState else "version"

    def golden(self) -> Iterator[Path]:
        return (
            path for path in (FOLDER / folder / self.name for folder in ("state_directory", "state_files"))
        )

    def file(self, folder: Path) -> StateFile[Any]:
        return StateFile(folder / self.name, self.kind, indent=self.indent)


FIVE = (
    Case(
        "alerts.json",
        AlertRecords,
        st.builds(
            AlertRecords,
            one,
            st.lists(record, unique_by=lambda each: (each.source, each.alert, each.subject), **few).map(
                tuple
            ),
        ),
    ),
    Case(
        "energy.json",
        EnergyState,
        st.builds(
            EnergyState,
            one,
            finite,
            finite,
            st.lists(
                st.builds(GpuEnergyRecord, index=whole, meter=counter, age=finite, counter_age=finite), **few
            ).map(tuple),
            keyed(share),
        ),
    ),
    Case(
        "gpu-baselines.json",
        Baselines,
        st.builds(
            Baselines,
            st.just(2),
            keyed(
                keyed(st.tuples(measured, measured, measured, measured, measured, st.floats(-5, 5), measured))
            ),
        ),
        indent=1,
    ),
    Case(
        "governor.lease.json",
        JournalEntry,
        st.builds(
            JournalEntry,
            one,
            pid=whole,
            written_at=finite,
            gpus=keyed(baseline),
            call_timeout=st.none() | finite,
        ),
        frozenset({"call_timeout"}),
        indent=1,
    ),
    Case(
        "pauses.lease.json",
        PausesEntry,
        st.builds(
            PausesEntry,
            one,
            pid=st.none() | whole,
            written_at=st.none() | finite,
            pauses=st.lists(pause, **few).map(tuple),
            engine=st.none() | engine,
        ),
        frozenset({"pid", "written_at", "engine"}),
        indent=1,
    ),
)
five = pytest.mark.parametrize("case", FIVE, ids=lambda case: case.name)


@five
def test_a_file_of_old_is_read_and_written_back_equal(case: Case, tmp_path: Path) -> None:
    for path in case.golden():
        (tmp_path / case.name).write_bytes(path.read_bytes())
        found = case.file(tmp_path).load()
        assert found is not None
        case.file(tmp_path).save(found)
        # Of the account of energy the first release wrote no line's end.
        assert (tmp_path / case.name).read_bytes().rstrip() == path.read_bytes().rstrip()


@five
@given(st.data())
def test_whatever_is_saved_is_loaded(case: Case, data: Any) -> None:
    value = data.draw(case.values)
    found = decoder(case.kind)(parse(compose(value, indent=case.indent)))
    assert found == value


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def nowhere(case: Case, content: bytes, folder: Path) -> None:
    """Fail unless ``content`` is unreadable and stays, and is set aside where that is asked for."""
    file = case.file(folder)
    file.path.write_bytes(content)
    with pytest.raises(StateUnreadable):
        file.load()
    assert file.path.read_bytes() == content
    found, problem = file.load_or_set_aside()
    assert found is None
    assert f"{case.name}.unreadable" in problem
    assert file.path.with_name(f"{case.name}.unreadable").read_bytes() == content
    assert names(folder) == [f"{case.name}.unreadable"]


@five
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 4096,
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"x" * ((1 << 20) + 1),
        b'{"version": 9}',
        b'{"format": 9}',
        b'{"version": 1, "gpus": [], "alerts": 7, "pauses": {}, "format": 1}',
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_no_such_file_is_unreadable_and_not_lost(case: Case, content: bytes, tmp_path: Path) -> None:
    nowhere(case, content, tmp_path)


@five
@given(
    st.binary() | st.recursive(scalars, lambda inside: keyed(inside) | st.lists(inside, **few)).map(as_json)
)
def test_no_content_is_more_than_a_value_error(case: Case, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decoder(case.kind)(parse(content.decode()))


@five
def test_a_file_that_was_cut_off_anywhere_is_unreadable(case: Case, tmp_path: Path) -> None:
    file, content = case.file(tmp_path), next(case.golden()).read_bytes().rstrip()
    for length in range(0, len(content), 7):
        file.path.write_bytes(content[:length])
        with pytest.raises(StateUnreadable):
            file.load()


@five
def test_a_file_of_another_version_says_so(case: Case, tmp_path: Path) -> None:
    document = json.loads(next(case.golden()).read_bytes())
    document |= {case.key: document[case.key] + 1, "later": 1}
    (tmp_path / case.name).write_text(json.dumps(document))
    with pytest.raises(StateUnreadable, match=rf"{case.key}: \d where \d belongs"):
        case.file(tmp_path).load()


def places(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in ``document``."""
    inside = document.items() if isinstance(document, dict) else ()
    inside = enumerate(document) if isinstance(document, list) else inside
    for key, value in inside:
        yield (*place, key)
        yield from places(value, (*place, key))


def changed(document: Any, place: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    """Return a copy of ``document`` after ``change`` of the holder of ``place`` at its last key."""
    copy = holder = json.loads(json.dumps(document))
    for key in place[:-1]:
        holder = holder[key]
    change(holder, place[-1])
    return copy


def test_each_of_the_five_has_much_to_be_wrong() -> None:
    assert all(len(list(places(json.loads(next(case.golden()).read_bytes())))) > 10 for case in FIVE)


@five
@pytest.mark.parametrize(
    "wrong",
    [[[]], {"": [{}]}, float("nan"), float("inf"), 10**400],
    ids=["list", "object", "nan", "inf", "huge"],
)
def test_a_value_that_is_wrong_anywhere_spoils_the_whole(case: Case, wrong: Any) -> None:
    decode = decoder(case.kind)
    for path in case.golden():
        document = json.loads(path.read_bytes())
        for place in places(document):
            spoilt = changed(document, place, lambda holder, key: holder.__setitem__(key, wrong))
            if place[0] in case.advisory:
                decode(spoilt)
                continue
            with pytest.raises(Mismatch):
                decode(spoilt)


@five
def test_a_key_that_is_missing_or_not_known_spoils_the_whole(case: Case) -> None:
    decode = decoder(case.kind)
    for path in case.golden():
        document = json.loads(path.read_bytes())
        free = ("gpus", "shares", "evidence")  # whatever there is has a name of its own
        for place in places(document):
            if not isinstance(place[-1], str) or place[0] in case.advisory:
                continue
            if len(place) > 1 and (place[-2] in free or case.kind is Baselines):
                continue
            with pytest.raises(Mismatch):
                decode(changed(document, place, lambda holder, key: holder.pop(key)))
            with pytest.raises(Mismatch, match="not known here"):
                decode(changed(document, place, lambda holder, _: holder.__setitem__("later", 1)))


GOVERNED = {"index": 0, "name": "card", "power_limit_watts": 300.0, "clocks": False, "simulated": False}
PAUSED = {
    "id": "c",
    "name": "n",
    "started_at": 1,
    "gpu": "0",
    "reason": "",
    "simulated": False,
    "lost": False,
}


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        (FIVE[0], {"alerts": "twice"}),
        (FIVE[0], {"stage": "inactive"}),
        (FIVE[0], {"held": -1}),
        (FIVE[0], {"severity": "Error"}),
        (FIVE[1], {"counted": -1}),
        (FIVE[1], {"counter": -1}),
        (FIVE[1], {"resets": -1}),
        *((FIVE[2], {"cooling/1": row}) for row in (
            [0.1],
            [0, 1, 1, 1, 1, 1, 1],
            [1, 1, 1, 1, 1, 1, -1],
            [1, -1, 1, 1, 1, 1, 1],
            [1, 1e13, 1, 1, 1, 1, 1],
            [1, 1, 1, 1, 1, -1e13, 1],
            ["a", 1, 1, 1, 1, 1, 1],
            [True, 1, 1, 1, 1, 1, 1],
        )),
        (FIVE[3], {"power_limit_watts": -5}),
        (FIVE[3], {"power_limit_watts": 0}),
        (FIVE[3], {"power_limit_watts": 1e6}),
        (FIVE[3], {"power_limit_watts": "300"}),
        (FIVE[3], {"clocks": 1}),
        (FIVE[4], {"id": ""}),
        (FIVE[4], {"started_at": "nan"}),
        (FIVE[4], {"name": 1}),
        (FIVE[4], {"lost": 1}),
    ],
)  # fmt: skip
def test_what_can_not_be_so_is_refused(case: Case, changes: dict[str, Any]) -> None:
    document = json.loads(next(case.golden()).read_bytes())
    ((name, value),) = changes.items()
    if value == "twice":
        document[name] *= 2
    else:
        place = next(place for place in places(document) if place[-1] == name)
        document = changed(document, place, lambda holder, key: holder.__setitem__(key, value))
    with pytest.raises(Mismatch):
        decoder(case.kind)(document)


def test_a_journal_of_an_earlier_version_says_less_and_is_read() -> None:
    gpus = {"version": 1, "boot_id": "b", "pid": 1, "written_at": 1, "gpus": {"GPU-0": GOVERNED}}
    assert decoder(JournalEntry)(gpus).call_timeout is None
    assert decoder(PausesEntry)({"version": 1, "pauses": [PAUSED]}).engine is None
