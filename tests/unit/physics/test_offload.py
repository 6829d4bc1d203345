"""A model in two memories."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.physics.offload import Part, Split, by_bytes, by_layers, channels_bandwidth
from tests.unit.physics.shapes import BANDWIDTHS


def test_two_channels_of_ddr5_6400_give_102_4_gb_s() -> None:
    assert channels_bandwidth(6.4e9, 2) == pytest.approx(102.4e9)
    assert channels_bandwidth(6.4e9, 1) == pytest.approx(51.2e9)


def test_70b_hybrid_at_8_tok_s_is_out_of_reach_of_either() -> None:
    two = Split(Part(6e9, 896e9), Part(29e9, 102.4e9))
    one = Split(Part(6e9, 896e9), Part(29e9, 51.2e9))
    assert (round(two.ceiling, 2), round(one.ceiling, 2)) == (3.45, 1.74)


@given(st.floats(1e6, 1e12), st.integers(1, 200), st.data(), BANDWIDTHS, BANDWIDTHS)
def test_a_split_lies_between_its_parts(
    read: float, layers: int, data: st.DataObject, gpu: float, cpu: float
) -> None:
    on_gpu = data.draw(st.integers(0, layers))
    split = by_layers(read, layers, on_gpu, gpu, cpu)
    slow, fast = sorted((gpu / read, cpu / read))
    assert slow * (1 - 1e-9) <= split.ceiling <= fast * (1 + 1e-9)
    assert split.gpu.read_bytes + split.cpu.read_bytes == pytest.approx(read)


@given(st.floats(1e6, 1e12), st.floats(0, 2e12), BANDWIDTHS, BANDWIDTHS)
def test_no_more_than_all_is_on_the_gpu(read: float, held: float, gpu: float, cpu: float) -> None:
    split = by_bytes(read, held, gpu, cpu)
    assert 0 <= split.cpu.read_bytes <= read
    assert split.gpu.read_bytes <= min(read, held)


@pytest.mark.parametrize(("layers", "on_gpu"), [(0, 0), (10, 11), (10, -1)])
def test_layers_that_are_not_there(layers: int, on_gpu: int) -> None:
    with pytest.raises(ValueError, match="layers"):
        by_layers(1e9, layers, on_gpu, 1e12, 1e11)
