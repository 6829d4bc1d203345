"""Records on the disk, with comparisons as an example."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aiidpd.components.bench.compare.agreement import judge
from aiidpd.components.bench.compare.result import Comparison, PairFigures, Side, Times, judged
from aiidpd.components.bench.compare.store import ComparisonStore
from aiidpd.kernel.errors import NotFound
from aiidpd.platform.statefile import StateUnreadable

AT = 1_800_000_000.0


def comparison(identity: str, *, pairs: int = 4) -> Comparison:
    times = Times(0.1, 0.02)
    found = tuple(PairFigures(number, number % 2 == 0, times, times) for number in range(pairs))
    sides = Side("a", "m", "http://a"), Side("b", "m", "http://b")
    return Comparison(
        version=1,
        id=identity,
        kind="endpoints",
        began_at=AT,
        ended_at=AT + 60,
        a=sides[0],
        b=sides[1],
        simulated=False,
        seed=1,
        most_pairs=20,
        max_tokens=64,
        ended="clear",
        reason="each figure has a clear answer",
        figures=judged(found, 20),
        answers=judge(()),
        pairs=found,
    )


def test_what_is_saved_is_read_again(tmp_path: Path):
    store = ComparisonStore(tmp_path / "comparisons")
    assert store.all() == ([], [])
    identity = store.new_id(AT)
    store.save(comparison(identity, pairs=200))
    assert store.load(identity) == comparison(identity, pairs=200)
    assert store.new_id(AT) == f"{identity}-2"


def test_the_newest_stay(tmp_path: Path):
    store = ComparisonStore(tmp_path)
    for number in range(55):
        store.save(comparison(store.new_id(AT + number // 20)))
    found, problems = store.all()
    assert not problems
    assert len(found) == 50
    assert found[0].id == "20270115T080000Z-6"
    assert found[-1].id == "20270115T080002Z-15"


@pytest.mark.parametrize("identity", ["", "x", "../../etc/passwd", "20270115T080000Z"])
def test_one_that_is_not_there_is_not_found(tmp_path: Path, identity: str):
    with pytest.raises(NotFound, match="lists those there are"):
        ComparisonStore(tmp_path).load(identity)


def test_a_damaged_one_is_named_beside_the_others(tmp_path: Path):
    store = ComparisonStore(tmp_path)
    whole = replace(comparison(store.new_id(AT)), notes=("one",))
    store.save(whole)
    (tmp_path / "20280101T000000Z.json").write_text("{")
    (tmp_path / "other.json").write_text("{")
    found, problems = store.all()
    assert found == [whole]
    assert len(problems) == 1
    with pytest.raises(StateUnreadable):
        store.load("20280101T000000Z")
