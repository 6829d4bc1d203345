"""Upgrades from the plan to the verdict, with made-up containers and engines."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from aiidpd.components.bench.guard.document import CriterionRecord
from aiidpd.contracts.trials import ImageTrialState, TriedContainer, Wish
from tests.fakes.clock import FakeClock
from tests.unit.components.bench.guard.house import House


@pytest.fixture
def house(clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(clock, tmp_path, monkeypatch)


def new_is(state: ImageTrialState, **changes: object) -> ImageTrialState:
    """Return the state in which the new one is otherwise, where it serves."""
    return replace(state, **changes) if state.serving == "new" else state  # type: ignore[arg-type]


async def test_one_that_is_as_good_is_kept(house: House) -> None:
    job, upgrade = await house.upgrade()
    assert (job.status.error, job.status.result["outcome"]) == ("", "kept")
    assert upgrade is not None
    assert (upgrade.outcome, upgrade.stage, upgrade.findings) == ("kept", "kept", ())
    assert [each.side for each in upgrade.measurements] == ["old"] * 8 + ["new"] * 8
    assert upgrade.answers.share == 1
    assert house.wishes == [Wish.PLAN, Wish.OLD, Wish.NEW, Wish.KEEP]
    assert [each.kind for each in house.events] == ["bench.upgrade_guarded"]


async def test_the_old_one_is_measured_again_in_between(house: House) -> None:
    _, upgrade = await house.upgrade(swap_back=2)
    assert upgrade is not None
    assert {(each.side, each.round) for each in upgrade.measurements} == {
        (side, number) for side in ("old", "new") for number in range(3)
    }
    assert house.wishes[1:] == [Wish.OLD, Wish.NEW, Wish.OLD, Wish.NEW, Wish.OLD, Wish.NEW, Wish.KEEP]


async def test_beside_both_are_measured_by_pairs(house: House) -> None:
    _, upgrade = await house.upgrade(beside=True, pairs=20)
    assert upgrade is not None
    assert (upgrade.mode, upgrade.outcome) == ("beside", "kept")
    assert upgrade.compared
    assert not upgrade.measurements
    assert house.wishes == [Wish.PLAN, Wish.OLD, Wish.BESIDE, Wish.NEW, Wish.KEEP]


async def test_one_that_is_slower_goes_back(house: House) -> None:
    house.new.pace = 0.03
    job, upgrade = await house.upgrade()
    assert upgrade is not None
    assert (upgrade.outcome, upgrade.stage) == ("returned", "returned")
    assert {each.criterion for each in upgrade.findings} == {"speed"}
    assert job.status.error.startswith("returned: speed: first token: slower")
    assert house.wishes[-1] is Wish.BACK


async def test_one_that_answers_otherwise_goes_back_and_the_answers_are_shown(house: House) -> None:
    house.new.says = lambda request: "y" * request.max_tokens
    _, upgrade = await house.upgrade()
    assert upgrade is not None
    assert upgrade.outcome == "returned"
    assert upgrade.answers.prompts[0].b.startswith("yyy")


async def test_a_criterion_of_acceptance_that_failed_is_in_the_way(house: House) -> None:
    house.criteria = (CriterionRecord("errors", "<= 1 %", "failed", 0.5, ""),)
    _, upgrade = await house.upgrade()
    assert upgrade is not None
    assert (upgrade.outcome, upgrade.findings[0].criterion) == ("returned", "acceptance")


async def test_one_that_does_not_answer_in_time_goes_back(house: House) -> None:
    house.new.fails = "it answers 503"
    _, upgrade = await house.upgrade(ready=10.0)
    assert upgrade is not None
    assert (upgrade.outcome, upgrade.findings[0].criterion) == ("returned", "ready")
    assert "not ready within 10 s: it answers 503" in upgrade.findings[0].text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"disturbed": "the new one ended", "new": TriedContainer("c2", exit_code=3, log=("bad",))},
            "exit code 3",
        ),
        (
            {"disturbed": "the new one ended", "new": TriedContainer("c2", out_of_memory=True)},
            "out of memory",
        ),
        ({"new": TriedContainer("c2", running=True, out_of_memory=True)}, "out of memory"),
        ({"ended": "gone"}, "the trial has ended"),
        ({"new": TriedContainer("c2", running=True, health="unhealthy")}, "health"),
    ],
)
async def test_what_happens_to_the_new_one_ends_it(
    house: House, changes: dict[str, object], words: str
) -> None:
    house.meddle = lambda state: new_is(state, **changes)
    _, upgrade = await house.upgrade(ready=10.0)
    assert upgrade is not None
    assert upgrade.outcome == "returned"
    assert words in upgrade.findings[0].text


async def test_what_can_t_be_tried_is_said_with_what_to_do(house: House) -> None:
    house.plan = replace(house.plan, refusal="nobody has allowed it", remedy="set the label")
    job, upgrade = await house.upgrade()
    assert (job.status.result["outcome"], upgrade) == ("not tried", None)
    assert job.status.error == "not tried: nobody has allowed it; set the label"


async def test_the_same_image_is_nothing_to_try(house: House) -> None:
    house.plan = replace(house.plan, same=True)
    job, _ = await house.upgrade()
    assert "nothing to try" in job.status.error


async def test_without_containers_nothing_is_tried(house: House) -> None:
    house.problem = "made-up containers have no images to try"
    house.inbox.take()
    house.meddle = lambda state: replace(state, plan=None)
    job, _ = await house.upgrade()
    assert "made-up containers" in job.status.error


async def test_users_are_waited_for_and_then_it_is_given_up(house: House) -> None:
    def arrive() -> None:
        house.users = 1 if house.old.asked and len(house.old.asked) > 20 else 0

    job, upgrade = await house.upgrade(arrive, drain=20.0)
    assert upgrade is not None
    assert (upgrade.outcome, job.status.result["outcome"]) == ("not tried", "not tried")
    assert Wish.NEW not in house.wishes
    assert not upgrade.findings[0].clear


async def test_an_engine_without_figures_is_noted(house: House) -> None:
    house.figures = False
    _, upgrade = await house.upgrade()
    assert upgrade is not None
    assert upgrade.outcome == "kept"
    assert any("not known" in each for each in upgrade.notes)


async def test_one_that_is_cancelled_goes_back(house: House) -> None:
    def cancel() -> None:
        if house.state is not None and house.state.serving == "new":
            house.guard.control.cancel()

    _, upgrade = await house.upgrade(cancel)
    assert upgrade is not None
    assert (upgrade.outcome, upgrade.findings[0].text) == ("returned", "it was cancelled")


async def test_evidence_that_can_t_be_stored_is_no_upgrade(house: House, tmp_path: Path) -> None:
    (tmp_path / "upgrades").write_text("in the way")
    job, _ = await house.upgrade()
    assert "cannot store the evidence" in job.status.error
    assert job.status.result["outcome"] == "not tried"
    assert house.wishes == [Wish.PLAN]


async def test_a_disk_that_is_full_later_stops_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        def save(_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(house.store, "save", save) if house.old.asked else None

    job, _ = await house.upgrade(fail)
    assert job.status.result["outcome"] == "kept"
    assert "bench.upgrade_not_stored" in {each.kind for each in house.events}


async def test_one_that_can_t_be_kept_goes_back(house: House) -> None:
    house.meddle = lambda state: (
        replace(state, ended="returned", serving="old", disturbed="the new one ended")
        if state.ended == "kept"
        else state
    )
    _, upgrade = await house.upgrade()
    assert upgrade is not None
    assert (upgrade.outcome, upgrade.findings[0].text) == ("returned", "the new one ended")


async def test_the_wish_is_repeated_all_the_time(house: House) -> None:
    sent: list[float] = []
    send = house.messages.send

    def counted(message: object) -> int:
        sent.append(house.clock.monotonic())
        return send(message)  # type: ignore[arg-type]

    house.messages.send = counted  # type: ignore[method-assign]
    await house.upgrade(settle=100.0)
    assert max(later - now for now, later in itertools.pairwise(sent)) < 10
