from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.driver import protocol
from aiidpd.components.thermal.driver.protocol import Malformed
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.xid import XidLedger
from aiidpd.kernel.errors import Unavailable

GPU: dict[str, Any] = {"index": 0, "uuid": "GPU-1", "name": "card"}
FAULT: dict[str, Any] = {"index": 1, "call": "nvmlDeviceGetUUID", "code": 15, "name": "GPU_IS_LOST"}
ANSWER: dict[str, Any] = {"id": 3, "driver_version": "580", "gpus": [GPU], "faults": [FAULT], "xids": []}


def decode(line: bytes, identity: int) -> GpuSnapshot:
    return protocol.decode(line, identity, XidLedger())


def line(**changes: object) -> bytes:
    return json.dumps(ANSWER | changes).encode()


def test_what_is_not_in_an_answer_is_absent() -> None:
    snapshot = decode(line(), 3)

    assert snapshot.gpus == (GpuReading(0, "GPU-1", "card"),)
    assert snapshot.faults == (GpuFault(1, "nvmlDeviceGetUUID", 15, "GPU_IS_LOST"),)
    assert not snapshot.simulated


def test_a_zero_is_a_zero_and_not_absent() -> None:
    gpu = GPU | {"power_watts": 0, "clock_event_bits": 0}

    assert decode(line(gpus=[gpu]), 3).gpus == (
        GpuReading(0, "GPU-1", "card", power_watts=0.0, clock_event_bits=0, clock_events=()),
    )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (FAULT, "cannot read GPU 1: nvmlDeviceGetUUID says GPU_IS_LOST (NVML error 15); the GPU needs"),
        (
            {"index": None, "call": "nvmlDeviceGetCount", "code": None, "name": "NO_GPUS"},
            "cannot read GPUs: nvmlDeviceGetCount says NO_GPUS; see that",
        ),
        (
            {"index": None, "call": "nvmlInit", "code": 77, "name": "ERROR_77"},
            "cannot read GPUs: nvmlInit says ERROR_77 (NVML error 77)",
        ),
    ],
)
def test_an_error_has_its_remedy(fault: dict[str, Any], said: str) -> None:
    with pytest.raises(Unavailable) as caught:
        decode(json.dumps({"id": 3, "error": fault, "xids": []}).encode(), 3)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    "wrong",
    [
        line(id=4),
        line(gpus=None),
        line(driver_version=580),
        line(gpus=[GPU | {"power_watts": "12"}]),
        line(gpus=[GPU | {"power_watts": True}]),
        line(gpus=[GPU | {"power_watts": float("nan")}]),
        line(gpus=[GPU | {"power_watts": 10**400}]),
        line(gpus=[GPU | {"index": -1}]),
        line(gpus=[GPU | {"clock_event_bits": 1.5}]),
        line(faults=[{}]),
        b"[" * 100_000,
        b"",
        b"null",
        b"\xff",
    ],
)
def test_half_an_answer_is_none(wrong: bytes) -> None:
    with pytest.raises(Malformed):
        decode(wrong, 3)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ANSWER, *GPU]), inner),
    max_leaves=20,
)


@given(JSON)
def test_no_json_brings_the_decoder_down(answer: object) -> None:
    with pytest.raises(Malformed):
        decode(json.dumps(answer).encode(), 3)


@given(st.sampled_from([*ANSWER, *GPU, *FAULT]), JSON)
def test_no_change_to_an_answer_brings_the_decoder_down(key: str, value: object) -> None:
    answer = ANSWER | {
        "gpus": [GPU | ({key: value} if key in GPU else {})],
        "faults": [FAULT | ({key: value} if key in FAULT else {})],
    }
    answer |= {key: value} if key in ANSWER else {}
    with suppress(Malformed):
        decode(json.dumps(answer).encode(), 3)
