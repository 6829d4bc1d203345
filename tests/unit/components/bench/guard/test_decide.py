"""Course of an upgrade: kept only through every stage, and the old engine serves in every other end."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.guard.decide import Course, Stage
from aiidpd.components.containers.trial.decide import Act
from aiidpd.contracts.trials import Wish
from tests.unit.components.containers.trial.world import ENTRY, World

COURSES = st.builds(Course, beside=st.booleans(), rounds=st.integers(0, 3))


def stages(course: Course) -> list[Stage]:
    """Return the stages of a course that goes well."""
    found = [course.stage]
    while not course.stage.final:
        course = course.after(well=True)
        found.append(course.stage)
    return found


def test_in_place() -> None:
    assert [each.value for each in stages(Course())] == [
        "begin", "baseline", "drain", "swap", "ready", "settle", "accept", "measure", "judge", "keep", "kept",
    ]  # fmt: skip


def test_beside() -> None:
    assert [each.value for each in stages(Course(beside=True))] == [
        "begin", "start beside", "compare", "drain", "swap", "ready", "settle", "accept", "judge", "keep",
        "kept",
    ]  # fmt: skip


def test_the_old_one_is_measured_again_as_often_as_is_wished() -> None:
    seen = Counter(stages(Course(rounds=2)))
    assert (seen[Stage.REPEAT], seen[Stage.MEASURE], seen[Stage.SWAP_AGAIN], seen[Stage.KEPT]) == (2, 3, 2, 1)


@pytest.mark.parametrize("stage", [each for each in Stage if not each.final])
def test_a_failure_leads_back_from_everywhere(stage: Stage) -> None:
    after = Course(stage).after(well=False)
    assert after.stage is (Stage.RETURNED if stage in (Stage.KEEP, Stage.RETURN) else Stage.RETURN)
    assert after.wish is Wish.BACK


@given(COURSES, st.lists(st.booleans(), max_size=60))
def test_only_a_course_without_a_failure_is_kept(course: Course, ends: list[bool]) -> None:
    failed = False
    for well in ends:
        if not course.stage.final:
            failed = failed or not well
        course = course.after(well=well)
        assert (course.wish is Wish.KEEP) <= (course.stage in (Stage.KEEP, Stage.KEPT))
        assert (course.stage is Stage.KEPT) <= (not failed)
    for _ in range(60):
        course = course.after(well=True)
    assert course.stage.final


MEDDLING = st.sampled_from(
    ["", "", "", "", "the runtime restarts", "all is started", "the new one ends", "the new one is removed"]
)


@given(
    COURSES,
    st.lists(st.tuples(st.booleans(), st.integers(1, 10), MEDDLING, st.booleans()), max_size=25),
    st.integers(0, 25),
)
def test_with_the_containers_the_old_one_serves_or_the_new_one_was_kept(
    course: Course, events: list[tuple[bool, int, str, bool]], killed_at: int
) -> None:
    """Course and containers together; at one moment the daemon is killed, and both begin anew."""
    world = World()
    kept = False
    for number, (well, acts, what, late) in enumerate(events):
        if number == killed_at:
            world.step(course.wish, killed=True)
            course = Course(Stage.RETURNED)  # nobody repeats the wish any more
        for _ in range(acts):
            world.step(course.wish)
        if what:
            world.meddle(what)
        if not late:
            course = course.after(well=well)
        kept = kept or course.stage is Stage.KEEP
    world.settle()
    old, new = world.containers.get(ENTRY.old), world.containers.get("new")
    if world.ended is Act.KEPT:
        assert kept
        assert new is not None
        assert (new[0], bool(new[1]), old) == ("llm", True, None)
    else:
        assert old is not None
        assert (old[0], bool(old[1]), new) == ("llm", True, None)
