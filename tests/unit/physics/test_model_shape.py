"""Bytes of weights that a step reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.physics.model_shape import ModelShape, union_share
from tests.unit.physics.shapes import model_shapes


def test_embeddings_of_which_one_row_is_read_are_left_out() -> None:
    assert ModelShape(weight_bytes=10.0, lookup_bytes=4.0).bytes_read() == 6.0


def test_a_mixture_reads_its_active_experts_for_one_and_nearly_all_for_many() -> None:
    mixtral = ModelShape(weight_bytes=90.0, expert_bytes=80.0, expert_count=8, expert_used_count=2)
    assert mixtral.bytes_read(1) == pytest.approx(10 + 80 / 4)
    assert mixtral.bytes_read(2) == pytest.approx(10 + 80 * (1 - 0.75**2))
    assert mixtral.bytes_read(64) == pytest.approx(90, rel=1e-6)


@pytest.mark.parametrize(
    "given_",
    [
        {"weight_bytes": 0.0},
        {"weight_bytes": 1.0, "lookup_bytes": 2.0},
        {"weight_bytes": 1.0, "lookup_bytes": -1.0},
        {"weight_bytes": 3.0, "expert_bytes": 1.0, "expert_count": 1, "expert_used_count": 2},
    ],
)
def test_what_no_model_is(given_: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"than|weights"):
        ModelShape(**given_)  # type: ignore[arg-type]


@given(model_shapes(), st.integers(1, 512))
def test_the_union_lies_between_the_active_experts_and_all(model: ModelShape, batch: int) -> None:
    least, found = model.least_bytes_read(), model.bytes_read(batch)
    assert least <= found * (1 + 1e-9)
    assert found <= model.weight_bytes * (1 + 1e-9)
    assert found <= model.bytes_read(batch + 1) * (1 + 1e-9)


@given(st.integers(1, 512), st.data())
def test_no_more_experts_are_read_than_tokens_choose(count: int, data: st.DataObject) -> None:
    used, batch = data.draw(st.integers(1, count)), data.draw(st.integers(1, 64))
    share = union_share(count, used, batch)
    assert used / count <= share * (1 + 1e-9)
    assert share <= min(1.0, batch * used / count) * (1 + 1e-9)


def test_a_step_is_for_one_at_least() -> None:
    with pytest.raises(ValueError, match="one sequence"):
        union_share(8, 2, 0)
