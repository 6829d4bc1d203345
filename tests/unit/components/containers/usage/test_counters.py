"""Counters of the kernel's texts, and what is no such text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.usage import counters

COUNTS = st.integers(0, 2**63)


@given(COUNTS, COUNTS)
def test_version_2(cpu: int, memory: int) -> None:
    assert counters.cpu_seconds_v2(f"usage_usec {cpu}\nuser_usec 1\n") == cpu / 1e6
    assert counters.keyed(f"anon {memory}\nfile 7\n", "anon") == memory
    assert counters.keyed("low 0\noom 1\noom_kill 3\n", "oom_kill") == 3


@given(COUNTS)
def test_version_1(cpu: int) -> None:
    assert counters.cpu_seconds_v1(f"{cpu}\n") == cpu / 1e9
    assert counters.keyed("rss 5\ntotal_rss 9\n", "total_rss", "rss") == 9
    assert counters.keyed("rss 5\n", "total_rss", "rss") == 5


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("max\n", None), ("67108864\n", 67108864), ("9223372036854771712\n", None), ("", None), (None, None)],
)
def test_no_limit_is_none(text: str | None, bytes_: int | None) -> None:
    assert counters.limit(text) == bytes_


def test_io_is_summed_over_devices() -> None:
    two = "8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n253:0 \n"
    assert counters.block_io_v2(two) == (11, 22)
    one = "8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:0 Total 30\n8:16 Read 1\nTotal 31\n"
    assert counters.block_io_v1(one) == (11, 20)
    assert counters.block_io_v2("") == counters.block_io_v1("Total 0\n") == (0, 0)
    assert counters.block_io_v2(None) is counters.block_io_v1(None) is None


@given(st.text(st.characters(exclude_characters="\0")), st.sampled_from("RSDZTtXI"), COUNTS, COUNTS)
def test_the_name_of_a_process_may_hold_anything(name: str, state: str, user: int, started: int) -> None:
    tail = f"{state} 1 1 1 0 -1 4194560 1 0 3 0 {user} 5 0 0 20 0 1 0 {started} 1044480 130"
    found = counters.process(f"77 ({name}) {tail}")
    assert found == counters.ProcessStat(77, state, 1, user + 5, started)


@pytest.mark.parametrize(
    ("status", "pending"),
    [
        ("SigQ:\t0/1\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n", True),
        ("SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n", True),
        ("SigPnd:\t0000000000004000\nShdPnd:\t0000000000004000\nSigCgt:\t0000000000000100\n", False),
        ("SigPnd:\tnonsense\n", False),
        (None, False),
    ],
)
def test_a_kill_that_is_pending(status: str | None, *, pending: bool) -> None:
    assert counters.kill_pending(status) is pending


@given(st.text())
def test_no_text_whatever_raises(text: str) -> None:
    for parse in (
        counters.number,
        counters.cpu_seconds_v1,
        counters.cpu_seconds_v2,
        counters.limit,
        counters.block_io_v1,
        counters.block_io_v2,
        counters.pids,
        counters.process,
        counters.kill_pending,
    ):
        parse(text)
    counters.keyed(text, "anon")
    counters.kilobytes(text, "MemAvailable")


@given(st.lists(st.integers(0, 2**22)))
def test_processes_of_another_pid_namespace_are_left_out(pids: list[int]) -> None:
    assert counters.pids("\n".join(map(str, pids))) == [pid for pid in pids if pid]


def test_memory_of_the_host() -> None:
    assert counters.kilobytes("MemTotal:   16 kB\nMemAvailable:   12 kB\n", "MemAvailable") == 12 << 10
    assert counters.kilobytes("MemAvailable: many kB\n", "MemAvailable") is None
    assert counters.kilobytes("", "MemAvailable") is None
