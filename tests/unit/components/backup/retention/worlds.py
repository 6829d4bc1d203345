"""Targets full of snapshots, made by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from aiidpd.components.backup.retention.decide import decide
from aiidpd.components.backup.retention.snapshots import Retention, SourceContents, StoredSnapshot
from aiidpd.components.backup.settings import RetentionSettings
from tests.tables import made

SIZES = {"a": 1, "b": 10, "c": 100, "d": 1000, "e": 0, "f": 7}
FOLDERS = ("/mnt/models", "/srv/models")
START = 1_774_400_000  # in the week in which Berlin's clocks go ahead
digests = st.frozensets(st.sampled_from(sorted(SIZES)), max_size=4)
models = st.dictionaries(st.sampled_from(["llama", "qwen"]), digests, max_size=2)


@dataclass(frozen=True)
class World:
    """All that a decision depends on, but the policy."""

    snapshots: tuple[StoredSnapshot, ...]
    sources: dict[str, SourceContents]
    protected: dict[str, str]
    zone: tzinfo
    shared: bool

    def decide(self, policy: RetentionSettings, snapshots: list[StoredSnapshot] | None = None) -> Retention:
        return decide(
            self.snapshots if snapshots is None else snapshots,
            policy,
            zone=self.zone,
            sources=self.sources,
            protected=self.protected,
            shared=self.shared,
        )

    def kept(self, policy: RetentionSettings) -> list[StoredSnapshot]:
        gone = set(self.decide(policy).removals)
        return [each for each in self.snapshots if each.id not in gone]


@st.composite
def _snapshots(draw: st.DrawFn) -> tuple[StoredSnapshot, ...]:
    count = draw(st.integers(0, 10))
    rarely = st.integers(0, 15).map(lambda number: number == 7)
    return tuple(
        StoredSnapshot(
            id=f"s{number}",
            created_at=START + draw(st.integers(0, 60)) * 43200.0,
            contents=None if draw(rarely) else {digest: SIZES[digest] for digest in draw(digests)},
            models=draw(models),
            source=FOLDERS[draw(rarely)],
            pinned=draw(rarely),
            broken=draw(rarely),
            in_future=draw(rarely),
            proven=draw(st.booleans()),
        )
        for number in range(count)
    )


def worlds(**fixed: Any) -> st.SearchStrategy[World]:
    made_of: dict[str, st.SearchStrategy[Any]] = {
        "snapshots": _snapshots(),
        "sources": st.dictionaries(
            st.sampled_from(FOLDERS),
            st.builds(SourceContents, digests, st.frozensets(st.sampled_from(["llama", "qwen"]))),
        ),
        "protected": st.dictionaries(st.sampled_from(["s1", "s5", "gone"]), st.just("an edit kept its time")),
        "zone": st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu")]),
        "shared": st.booleans(),
    }
    return st.builds(World, **{**made_of, **{name: st.just(value) for name, value in fixed.items()}})


numbers = st.integers(0, 4)
policies = st.builds(
    lambda last, daily, weekly, monthly, size, pins: made(
        RetentionSettings,
        keep_last=last,
        keep_daily=daily,
        keep_weekly=weekly,
        keep_monthly=monthly,
        max_size=size,
        pins=pins,
    ),
    *(numbers, numbers, numbers, numbers),
    st.sampled_from([0, 0, 1, 50, 500, 1500]),
    st.sampled_from([(), (), ("s2",), ("s3", "s9")]),
)
