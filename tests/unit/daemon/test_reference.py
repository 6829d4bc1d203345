"""The documents that are derived from the code are what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.daemon.reference import documents, with_table

ROOT = Path(__file__).resolve().parents[3]
CELL = st.text("abc ", min_size=1, max_size=5)


@pytest.mark.parametrize("name", documents())
def test_a_document_in_the_repository_is_what_the_code_says(name: str) -> None:
    text = (ROOT / name).read_text()
    assert documents()[name](text) == text, "run python -m aiidpd.daemon.reference"


@given(
    st.lists(CELL, max_size=4), st.lists(CELL, max_size=4), st.sampled_from(["", "\nmore\n", "\n\n| x |\n"])
)
def test_a_table_is_replaced_and_nothing_else(old: list[str], new: list[str], after: str) -> None:
    def table(rows: list[str]) -> str:
        return "\n".join(["| head |", "| --- |", *(f"| {row} |" for row in rows)]) + "\n"

    assert with_table(f"before\n\n{table(old)}{after}", table(new)) == f"before\n\n{table(new)}{after}"


def test_a_text_without_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no table with the head"):
        with_table("| other |\n| --- |\n", "| head |\n| --- |\n")
