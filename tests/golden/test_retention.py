"""Decisions on snapshots in situations with a name, as tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from aiidpd.components.backup.process.names import size_text
from aiidpd.components.backup.retention.decide import decide
from aiidpd.components.backup.retention.snapshots import (
    PRUNES,
    Retention,
    SourceContents,
    StoredSnapshot,
)
from aiidpd.components.backup.settings import RetentionSettings
from tests.golden.golden import equals_golden, rows
from tests.tables import made

GIB: Final = 2**30
BERLIN: Final = ZoneInfo("Europe/Berlin")
NOTHING_KEPT: Final = {"keep_last": 0, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}


@dataclass(frozen=True)
class Scenario:
    """Snapshots, and what is decided by."""

    snapshots: tuple[StoredSnapshot, ...]
    policy: RetentionSettings
    zone: tzinfo = BERLIN
    protected: dict[str, str] = field(default_factory=dict)
    source_known: bool = True
    has: frozenset[str] = frozenset({"llama"})
    """Models of which the source has the newest contents."""


def numbers(**values: object) -> RetentionSettings:
    return made(RetentionSettings, **{**NOTHING_KEPT, **values})


def snapshot(moment: datetime, version: int = 0, *, gib: int = 4, **values: object) -> StoredSnapshot:
    """Return a snapshot of a model that never changes and of one that is in its ``version``."""
    same, changing = "llama-weights", f"mine-{version}"
    found = StoredSnapshot(
        moment.astimezone(ZoneInfo("UTC")).strftime("%Y%m%dT%H%M%SZ"),
        moment.timestamp(),
        {same: 40 * GIB, changing: gib * GIB},
        {"llama": frozenset({same}), "mine": frozenset({changing})},
        source="/mnt/models",
        proven=True,
    )
    return replace(found, **values)  # type: ignore[arg-type]


def daily(first: datetime, count: int, *, every: int = 1) -> list[StoredSnapshot]:
    """Return snapshots at the same local time of one day after another, each with another version."""
    return [snapshot(first + timedelta(days=day), day) for day in range(0, count * every, every)]


def changed(snapshots: Iterable[StoredSnapshot], number: int, **values: object) -> tuple[StoredSnapshot, ...]:
    """Return ``snapshots`` with other values in the one of that ``number``, from 0."""
    return tuple(
        replace(each, **values) if at == number else each  # type: ignore[arg-type]
        for at, each in enumerate(snapshots)
    )


def berlin(year: int, month: int, day: int, hour: int = 3, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=BERLIN)


WEEKS: Final = tuple(daily(berlin(2026, 8, 2), 12, every=7))
WEEK: Final = tuple(daily(berlin(2026, 11, 16), 7))
UNCHANGED: Final = tuple(snapshot(berlin(2026, 11, day)) for day in range(16, 23))


def only_copy() -> Scenario:
    """The source has lost a file of one model and edited another; only older snapshots have them."""
    files = {"a-1": GIB, "a-2": GIB, "b-1": 2 * GIB, "b-2": 2 * GIB}
    whole_a, old_b, new_b = frozenset({"a-1", "a-2"}), frozenset({"b-1"}), frozenset({"b-2"})

    def made_of(day: int, held: str, b: frozenset[str], *, proven: bool = True) -> StoredSnapshot:
        contents = {name: files[name] for name in held.split()}
        return replace(
            snapshot(berlin(2026, 11, day)),
            contents=contents,
            models={"vendor/a": whole_a, "vendor/b": b},
            proven=proven,
        )

    return Scenario(
        (
            made_of(16, "a-1 a-2 b-1", old_b),
            made_of(17, "a-1 a-2 b-1", old_b),
            made_of(18, "a-1 a-2 b-2", new_b, proven=False),
            made_of(19, "a-1", new_b),
            made_of(20, "a-1", new_b),
        ),
        numbers(keep_last=1),
        has=frozenset({"vendor/a", "vendor/b"}),
    )


SCENARIOS: Final[dict[str, Scenario]] = {
    "year-of-days": Scenario(
        tuple(daily(berlin(2026, 1, 1), 365)), numbers(keep_daily=7, keep_weekly=4, keep_monthly=12)
    ),
    "defaults-on-sundays": Scenario(
        tuple(daily(berlin(2025, 6, 1), 70, every=7)), made(RetentionSettings), has=frozenset({"llama"})
    ),
    "no-numbers": Scenario(WEEK, numbers()),
    "many-runs-on-one-day": Scenario(
        tuple(snapshot(berlin(2026, 11, 20 + number // 6, 8 + number % 6), number) for number in range(12)),
        numbers(keep_last=3, keep_daily=7),
    ),
    "days-without-a-snapshot": Scenario(
        tuple(
            snapshot(berlin(2026, month, day), month * 31 + day)
            for month, day in ((1, 3), (1, 4), (5, 9), (5, 10), (11, 1), (11, 2))
        ),
        numbers(keep_daily=4),
    ),
    "size-bound": Scenario(WEEKS, numbers(keep_weekly=12, max_size=72 * GIB)),
    "size-bound-after-the-numbers": Scenario(WEEKS, numbers(keep_weekly=6, max_size=56 * GIB)),
    "size-bound-not-met": Scenario(
        changed(WEEKS, 3, pinned=True), numbers(keep_weekly=12, max_size=45 * GIB, pins=(WEEKS[5].id,))
    ),
    "size-bound-and-nothing-to-free": Scenario(UNCHANGED, numbers(keep_daily=7, max_size=10 * GIB)),
    "pins": Scenario(
        changed(WEEKS, 0, pinned=True), numbers(keep_last=2, pins=(WEEKS[4].id, "20200101T000000Z"))
    ),
    "protected": Scenario(
        WEEK,
        numbers(keep_last=2),
        protected={WEEK[1].id: "mine/model.safetensors was edited and kept its time; this is how it was"},
    ),
    "clock-set-back": Scenario(
        tuple(
            replace(each, in_future=True) if each.created_at > berlin(2026, 11, 19).timestamp() else each
            for each in WEEK
        ),
        numbers(keep_last=1, keep_daily=2),
    ),
    "clock-was-a-year-ahead": Scenario(
        (*WEEK, replace(snapshot(berlin(2027, 11, 21), 99), in_future=True)), numbers(keep_daily=3)
    ),
    "clocks-go-ahead": Scenario(
        tuple(snapshot(berlin(2026, 3, 27, 0, 30) + timedelta(hours=h), h) for h in range(0, 96, 8)),
        numbers(keep_daily=5),
    ),
    "clocks-go-back": Scenario(
        tuple(snapshot(berlin(2026, 10, 23, 0, 30) + timedelta(hours=h), h) for h in range(0, 96, 8)),
        numbers(keep_daily=5),
    ),
    "clocks-go-back-hour-that-comes-twice": Scenario(
        (
            snapshot(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN), 1),
            snapshot(datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1), 2),
            snapshot(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1), 3),
        ),
        numbers(keep_daily=1),
    ),
    "weeks-at-new-year": Scenario(
        tuple(daily(berlin(2026, 12, 24), 14)), numbers(keep_weekly=3, keep_monthly=2)
    ),
    "days-in-kathmandu": Scenario(
        tuple(snapshot(berlin(2026, 11, 20) + timedelta(hours=h), h) for h in range(0, 48, 6)),
        numbers(keep_daily=5),
        zone=ZoneInfo("Asia/Kathmandu"),
    ),
    "broken": Scenario(
        (
            *changed(
                changed(changed(WEEK, 1, broken=True), 3, broken=True, contents=None),
                4,
                broken=True,
                contents={"llama-weights": 40 * GIB},
            ),
        ),
        numbers(keep_daily=3),
    ),
    "newest-is-broken": Scenario(changed(WEEK, 6, broken=True), numbers(keep_last=1)),
    "newest-is-not-proven": Scenario(
        changed(changed(WEEK, 6, proven=False), 5, proven=False), numbers(keep_last=1)
    ),
    "only-copy": only_copy(),
    "source-not-known": Scenario(WEEK, numbers(keep_last=2), source_known=False),
    "two-folders": Scenario(
        tuple(
            replace(each, source="/mnt/models" if number % 2 else "/srv/models")
            for number, each in enumerate(WEEKS)
        ),
        numbers(keep_last=2),
    ),
}


def table(scenario: Scenario) -> str:
    """Return the decision in a scenario: the policy, each snapshot with its reasons, and the sizes."""
    found = decide(
        scenario.snapshots,
        scenario.policy,
        zone=scenario.zone,
        sources={"/mnt/models": contents(scenario)} if scenario.source_known else {},
        protected=scenario.protected,
    )
    set_ = ((name, value) for name, value in scenario.policy.model_dump().items() if value)
    head = ", ".join(f"{name} {size_text(value) if name == 'max_size' else value}" for name, value in set_)
    lines = [f"policy: {head or 'nothing set'}; days in {scenario.zone}\n\n", shown(found, scenario)]
    lines.append(f"\nremoved in this order: {' '.join(found.removals) or 'none'}\n")
    lines.append(f"size: {size_text(found.bytes_before)} before, {size_text(found.bytes_after)} after\n")
    if found.excess:
        lines.append(found.excess + "\n")
    if found.unknown_pins:
        lines.append(f"pins that name no snapshot: {' '.join(found.unknown_pins)}\n")
    return "".join(lines)


def contents(scenario: Scenario) -> SourceContents:
    """Return what the source has: of its models the newest files, whether a snapshot has them or not."""
    newest = scenario.snapshots[-1].models
    has = {name: files for name, files in newest.items() if name in scenario.has}
    return SourceContents(frozenset().union(*has.values()), frozenset(has))


def shown(found: Retention, scenario: Scenario) -> str:
    lines: list[tuple[object, ...]] = []
    for each in found.decisions:
        local = datetime.fromtimestamp(each.created_at, scenario.zone)
        freed = "" if each.kept else f"; frees {size_text(each.freed_bytes)}"
        verdict = "keep" if each.kept else "prune"
        lines += [
            (
                each.id if not number else " " * len(each.id),
                f"{local:%a %F %H:%M %z}" if not number else " " * 26,
                f"{verdict if not number else '':5}",
                f"{reason.rule:15}",
                reason.words + (freed if reason.rule in PRUNES else ""),
            )
            for number, reason in enumerate(each.reasons)
        ]
    return rows(*lines)


@pytest.mark.parametrize("name", SCENARIOS)
def test_which_snapshots_stay_and_why(name: str) -> None:
    equals_golden(table(SCENARIOS[name]), f"retention/{name}.txt")
