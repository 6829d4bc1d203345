"""Each row of hardware.toml against its own arithmetic: chips x bus = memory, bus x data rate = bandwidth."""

from __future__ import annotations

import re
from itertools import pairwise, product

import pytest

from aiidpd.physics.hardware import Device, parse_hardware
from aiidpd.physics.units import GB, GIB
from tests.unit.physics.test_hardware import FILE

DEVICES = parse_hardware(FILE.read_text()).devices
CLOSE = 0.012  # data sheets round to a whole GB/s, and clocks are not round
APPLE = 0.025  # says 100, 200 and 150 GB/s where the memory has 102.4, 204.8 and 153.6

# Gigatransfers a second of a pin, by what JEDEC and the makers of memory name.
GDDR5 = (6, 7, 7.23, 8, 9, 10, 11, 11.4)
GDDR6 = (10, 11, 12, 12.5, 13.8, 14, 14.5, 15, 15.5, 16, 17, 17.5, 18, 19, 20)
GDDR6X = (19, 19.5, 20, 21, 22.4, 23)
GDDR7 = (25, 28, 30, 32)
HBM = (1.4, 1.7, 1.75, 1.88, 2, 2.4, 2.43, 3.0, 3.2, 3.6, 4, 4.8, 5.2, 5.6, 6, 6.25, 6.4, 8, 9.6)
SHARED = (2.133, 3.2, 4.266, 4.267, 5.6, 6.4, 7.467, 7.5, 8, 8.533, 9.6)

BOARDS = {
    "nvidia-pascal": GDDR5,
    "nvidia-volta": HBM,
    "nvidia-turing": (*GDDR5, *GDDR6),
    "nvidia-ampere": (*GDDR6, *GDDR6X),
    "nvidia-ada": (*GDDR6, *GDDR6X),
    "nvidia-blackwell": (*GDDR6, *GDDR7),
    "amd-polaris": GDDR5,
    "amd-rdna2": GDDR6,
    "amd-rdna3": GDDR6,
    "amd-rdna4": GDDR6,
    "intel-arc": GDDR6,
}
CHIP_GIB = (0.5, 1, 2, 3, 4)
ON_BOARD = [device for device in DEVICES if device.family in BOARDS and BOARDS[device.family] is not HBM]


def ratio(device: Device, bits: float, rates: tuple[float, ...]) -> float:
    """Return how far the bandwidth is off the nearest data rate of a bus of ``bits``."""
    rate = device.bandwidth * 8 / bits / 1e9
    return min(abs(rate / each - 1) for each in rates)


def with_hbm(device: Device) -> bool:
    """Return whether the memory is stacked: 1,024 bits a stack, whole stacks or less."""
    return any(ratio(device, 1024 * stacks, HBM) < CLOSE * 2 for stacks in (1, 2, 3, 4, 5, 6, 8))


@pytest.mark.parametrize("device", ON_BOARD, ids=lambda device: device.name)
def test_chips_of_a_board_give_its_memory_and_its_bandwidth(device: Device) -> None:
    """A chip has 32 bits, or 16 where two share them."""
    assert device.memory is not None
    fitting = [
        (chips, size, shared)
        for chips, size, shared in product(range(2, 17), CHIP_GIB, (1, 2))
        if round(device.memory / GIB, 3) == chips * size * shared
        and ratio(device, 32 * chips, BOARDS[device.family]) < CLOSE
    ]
    assert fitting or with_hbm(device)


OTHERS = [device for device in DEVICES if device not in ON_BOARD and not device.name.startswith("CPU ")]


@pytest.mark.parametrize("device", OTHERS, ids=lambda device: device.name)
def test_stacks_and_soldered_memory_have_a_data_rate_that_there_is(device: Device) -> None:
    close = APPLE if device.name.startswith("Apple") else CLOSE
    widths = (64, 128, 192, 256, 384, 512, 1024)
    assert with_hbm(device) or any(ratio(device, bits, SHARED) < close for bits in widths)


@pytest.mark.parametrize("device", [each for each in DEVICES if each.name.startswith("CPU ")], ids=str)
def test_memory_of_processors_is_transfers_times_channels_times_eight_bytes(device: Device) -> None:
    found = re.fullmatch(r"CPU DDR\d-(\d+) (\d+) channels?", device.name)
    assert found is not None
    assert device.bandwidth == pytest.approx(int(found[1]) * int(found[2]) * 8 * 1e6, rel=2e-3)


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_compute_grows_with_fewer_bits_by_no_less_and_at_most_by_eight(device: Device) -> None:
    order = [device.flops[each] for each in ("fp32", "fp16", "fp8", "fp4") if each in device.flops]
    assert all(wide <= narrow < 8.1 * wide for wide, narrow in pairwise(order))
    if "int8" in device.flops and "fp16" in device.flops:
        assert 1.9 < device.flops["int8"] / device.flops["fp16"] < 4.1


def test_a_figure_is_within_the_order_of_magnitude_of_its_kind() -> None:
    for device in DEVICES:
        assert 20 * GB < device.bandwidth < 10_000 * GB, device.name
        if device.memory is not None:
            assert 1 < device.bandwidth / device.memory < 130, device.name  # times a second that it is read
        for precision, flops in device.flops.items():
            assert 1 < flops / device.bandwidth < 2000, (device.name, precision)  # operations a byte


def test_no_device_is_there_twice() -> None:
    seen: dict[object, str] = {}
    for device in DEVICES:
        key = "".join(sorted(device.name.lower().replace("-", " ").split()))
        assert key not in seen, (device.name, seen.get(key))
        seen[key] = device.name
