"""Prunes as people read them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.cli.text import Paint
from aiidpd.components.backup.cli_prune import prune_lines
from aiidpd.components.backup.process.results import PruneDecision, PruneResult
from aiidpd.components.backup.retention.snapshots import Reason, Rule
from aiidpd.platform import codec

PLAIN = Paint(colour=False, width=0)
NEWEST = PruneDecision(
    "20260301T030000Z",
    1_772_334_000.0,
    True,
    (
        Reason(Rule.NEWEST, "the newest whole snapshot"),
        Reason(
            Rule.COPY_OF_FILES,
            "the newest copy that is proven of 12 files of models--meta-llama--Llama-3.3-70B-Instruct, "
            "qwen that the source still has",
        ),
    ),
)
OLD = PruneDecision(
    "20260201T030000Z",
    1_769_914_800.0,
    False,
    (Reason(Rule.OUTDATED, "newer ones are enough for 1 last"),),
    5 << 30,
)


def document(result: PruneResult) -> Any:
    return json.loads(codec.compose(result))


def made(**fields: Any) -> PruneResult:
    given = {
        "snapshots": 2,
        "decisions": (OLD, NEWEST),
        "removed": (OLD.snapshot,),
        "removed_total": 1,
        "freed_files": 3,
        "freed_bytes": 5 << 30,
        **fields,
    }
    return PruneResult("id", given.pop("dry_run", False), **given)


def test_each_snapshot_has_its_reasons_and_the_end_says_what_is_free() -> None:
    assert prune_lines(document(made()), PLAIN) == [
        "20260201T030000Z  gone, frees 5.0 GiB",
        "    outdated: newer ones are enough for 1 last",
        "20260301T030000Z  stays",
        "    newest: the newest whole snapshot",
        "    copy of files: the newest copy that is proven of 12 files of",
        "      models--meta-llama--Llama-3.3-70B-Instruct, qwen that the source still has",
        "1 of 2 snapshots removed, 5.0 GiB freed in 3 files",
    ]


def test_a_dry_run_says_that_nothing_was_changed() -> None:
    lines = prune_lines(document(made(dry_run=True)), PLAIN)
    assert lines[0] == "20260201T030000Z  would go, frees 5.0 GiB"
    assert lines[-1] == "1 of 2 snapshots would go and free 5.0 GiB in 3 files; nothing was changed"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source_unknown": "it is no folder"}, "counts as still there: it is no folder"),
        ({"excess": "max_size (1.0 GiB) can't be met: 3.0 GiB remain"}, "can't be met"),
        ({"unknown_pins": ("gone", "lost")}, "pins that name no snapshot: gone, lost"),
        ({"problems": ("proofs.json does not match its own checksum",)}, "its own checksum"),
        ({"shared": False}, "no hard links"),
        ({"stale_files": 1, "stale_bytes": 2048}, "1 file (2.0 KiB) of interrupted copies"),
        ({"snapshots": 1002}, "1000 older snapshots not shown"),
        ({"snapshots": 0, "decisions": ()}, "there are no snapshots"),
    ],
)
def test_what_else_there_is_to_know_is_said(fields: dict[str, Any], expected: str) -> None:
    assert expected in " ".join(line.strip() for line in prune_lines(document(made(**fields)), PLAIN))


def test_nothing_to_remove_is_said_too() -> None:
    result = made(decisions=(NEWEST,), snapshots=1, removed=(), removed_total=0, freed_files=0, freed_bytes=0)
    assert prune_lines(document(result), PLAIN)[-1] == "nothing went: 1 snapshot"
    orphans = made(decisions=(NEWEST,), snapshots=1, removed=(), removed_total=0)
    assert prune_lines(document(orphans), PLAIN)[-1] == "0 of 1 snapshot removed, 5.0 GiB freed in 3 files"


@given(st.text(), st.text(min_size=1), st.integers(20, 120))
def test_no_line_is_wider_than_the_terminal_and_none_can_steer_it(id_: str, words: str, width: int) -> None:
    decision = PruneDecision(id_, 0.0, True, (Reason(Rule.PROTECTED, words),))
    result = document(made(decisions=(decision,), unknown_pins=(id_,), problems=(words,)))
    lines = prune_lines(result, Paint(colour=False, width=width))
    assert all(len(line) <= width and line.isprintable() for line in lines)
    assert all(len(line) <= 80 for line in prune_lines(result, PLAIN))
