"""The bandwidth of this machine's RAM, really measured, if briefly."""

from __future__ import annotations

import mmap
from typing import Any

import pytest

from aiidpd.platform import ram_bandwidth


def test_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ram_bandwidth, "_LARGEST_BYTES", 64 << 20)
    found = ram_bandwidth.measure(seconds=0.05)
    assert 1e8 < found.bytes_per_second < 1e13
    assert found.threads >= 1
    assert found.buffer_bytes <= 64 << 20


def test_without_memory_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", none)
    with pytest.raises(ram_bandwidth.NotMeasured, match="Cannot allocate memory"):
        ram_bandwidth.measure(seconds=0.05)
