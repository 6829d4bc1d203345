"""The state over restarts: written and read again, bounded, whatever hostile headers state."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.models.record import (
    LIMIT,
    MOST_HASHES,
    MOST_MODELS,
    HashRecord,
    InspectedRecord,
    ModelRecords,
    RevisionRecord,
    SpaceSample,
    UsedRecord,
    bounded,
)
from aiidpd.components.models.scanned import FileStamp
from aiidpd.formats.damage import Damage
from aiidpd.formats.model_files import ModelFacts, Problem, TypeShare
from aiidpd.platform.codec import compose, decoder, parse
from aiidpd.platform.statefile import StateFile

TEXT = st.text(max_size=30)
NUMBER = st.none() | st.integers(0, 2**80)
FACTS = st.builds(
    ModelFacts,
    format=TEXT,
    architecture=TEXT,
    parameters=NUMBER,
    kv_heads_by_block=st.lists(st.integers(0, 2**70), max_size=3).map(tuple),
    types=st.lists(
        st.builds(TypeShare, TEXT, st.integers(0, 9), st.integers(0, 2**70), NUMBER), max_size=2
    ).map(tuple),
)
PROBLEMS = st.lists(st.builds(Problem, TEXT, st.sampled_from(Damage), TEXT), max_size=2).map(tuple)
MODELS = st.dictionaries(
    TEXT, st.builds(InspectedRecord, TEXT, TEXT, TEXT, st.none() | FACTS, PROBLEMS), max_size=3
)


@given(MODELS, st.text(st.characters(), max_size=20))
def test_whatever_headers_state_is_written_and_read_again(
    models: dict[str, InspectedRecord], path: str
) -> None:
    records = bounded(
        ModelRecords(
            models=models,
            hashes={path: HashRecord(FileStamp(1, 2, 3), "s", "h", 1.0, "")},
            used={path: UsedRecord(1.0, "by")},
            revisions={path: RevisionRecord(1.0, "", "why")},
            space={path: (SpaceSample(1, 2, 3),)},
            scanned=True,
        )
    )
    assert decoder(ModelRecords)(parse(compose(records))) == records


def test_it_is_bounded_and_fits(tmp_path: Path) -> None:
    name = "x" * 100
    records = bounded(
        ModelRecords(
            models={
                f"{name}{each}": InspectedRecord("f" * 64, name, name, ModelFacts(format="gguf"), ())
                for each in range(MOST_MODELS + 10)
            },
            hashes={
                f"/{name}/{each}": HashRecord(FileStamp(2**40, 2**60, 2**40), "a" * 64, "b" * 64, float(each))
                for each in range(MOST_HASHES + 10)
            },
        )
    )
    assert (len(records.models), len(records.hashes)) == (MOST_MODELS, MOST_HASHES)
    assert f"/{name}/0" not in records.hashes
    assert StateFile(tmp_path / "models.json", ModelRecords, limit=LIMIT).fits(records)
