from __future__ import annotations

from pathlib import Path

import pytest

from aiidpd.contracts.checks import Outcome
from aiidpd.daemon.checks.clock import clock, kernel_synchronised

NOW = 1_800_000_000.0


def outcomes(rtc: Path, *, now: float = NOW, state: bool | None = True) -> list[tuple[Outcome, str]]:
    return [(each.outcome, each.found) for each in clock(lambda: now, lambda: state, rtc)]


def test_the_kernel_answers_or_does_not():
    assert kernel_synchronised() in (True, False, None)


@pytest.mark.parametrize(
    ("state", "outcome"), [(True, Outcome.OK), (False, Outcome.WARNING), (None, Outcome.OK)]
)
def test_synchronisation(state: bool | None, outcome: Outcome, tmp_path: Path):
    assert [each for each, _ in outcomes(tmp_path / "none", state=state)] == [outcome]


def test_a_clock_before_this_program_was_written(tmp_path: Path):
    [(outcome, found)] = outcomes(tmp_path / "none", now=86400.0)
    assert outcome is Outcome.FAILED
    assert "1970-01-02" in found


@pytest.mark.parametrize(
    ("apart", "words"),
    [
        (0, ""), (100, ""), (-100, ""), (7200, "local time"),
        (-5 * 3600, "local time"), (20700, "local time"),
        (500, "500 s ahead"), (-86400 * 300, "behind"),
    ],
)  # fmt: skip
def test_the_hardware_clock(apart: int, words: str, tmp_path: Path):
    rtc = tmp_path / "since_epoch"
    rtc.write_text(f"{int(NOW) + apart}\n")
    found = outcomes(rtc)[1:]
    assert len(found) == bool(words)
    assert words in "".join(text for _, text in found)


def test_a_hardware_clock_that_gives_nonsense_is_no_matter(tmp_path: Path):
    rtc = tmp_path / "since_epoch"
    rtc.write_text("soon")
    assert len(outcomes(rtc)) == 1
