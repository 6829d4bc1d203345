"""Ceiling of a load's output."""

from __future__ import annotations

import pytest

from aiidpd.components.bench.accept.limits import Machine
from aiidpd.components.bench.load.ceiling import ceiling_of


def test_requests_at_once_share_the_weights_that_are_read():
    machine = Machine(bandwidth=100e9, weights=5e9, stated=True)
    one, many = ceiling_of(machine, 1), ceiling_of(machine, 8)
    assert one is not None
    assert many is not None
    assert (one.tokens_per_second, many.tokens_per_second) == (20, 160)
    assert many.arithmetic == "8 / (5 GB / 100 GB/s)"
    assert many.certain


def test_compute_ends_what_a_batch_gains():
    machine = Machine(bandwidth=1000e9, weights=5e9, parameters=8e9, flops=16e12)
    found = ceiling_of(machine, 256)
    assert found is not None
    assert found.tokens_per_second == pytest.approx(1000)
    assert found.arithmetic == "1 / (2 x 8e9 / 16 TFLOP/s)"
    assert not found.certain


def test_a_draft_gives_several_tokens_a_step():
    found = ceiling_of(Machine(bandwidth=100e9, weights=5e9, draft_accepted=2.5), 1)
    assert found is not None
    assert found.tokens_per_second == 50
    assert found.arithmetic.endswith("x 2.5 accepted")


def test_of_what_is_not_known_there_is_none():
    assert ceiling_of(Machine(), 4) is None
    assert ceiling_of(Machine(bandwidth=1e9, weights=1e9), 0) is None
