"""Room for a second engine."""

from __future__ import annotations

import pytest

from aiidpd.components.bench.guard.room import room_beside
from aiidpd.contracts.gpus import GpuMemoryUse, GpusView, GpuUse

GIB = 2**30


def gpus(used: float | None, own: float | None, *, simulated: bool = False) -> GpusView:
    processes = (GpuMemoryUse(1, "c1", None if own is None else own * GIB), GpuMemoryUse(2, "other", GIB))
    memory = None if used is None else used * GIB
    return GpusView((GpuUse(0, "u", "RTX 4090", None, None, None, memory, processes),), simulated=simulated)


@pytest.mark.parametrize(
    ("view", "enough", "words"),
    [
        (gpus(10, 9), True, "there is room"),
        (gpus(14, 10), False, "GPU 0: 10.0 GiB free, 1.1 x 10.0 GiB needed"),
        (gpus(None, 9), False, "not known how much memory of GPU 0"),
        (gpus(10, None), False, "not known how much memory of GPU 0"),
        (gpus(10, 9, simulated=True), False, "can't be read"),
        (None, False, "can't be read"),
        (GpusView((GpuUse(0, "u", "RTX 4090", processes=()),)), False, "no GPU is known"),
        (GpusView((GpuUse(0, "u", "RTX 4090"),)), False, "not known how much memory"),
    ],
)
def test_by_arithmetic(view: GpusView | None, enough: bool, words: str) -> None:
    found = room_beside("c1", view, lambda _: 24 * GIB)
    assert found.enough is enough
    assert words in found.reason


def test_a_gpu_of_unknown_size_has_no_room() -> None:
    assert not room_beside("c1", gpus(10, 9), lambda _: None).enough
