"""Rises of the kernel's count of kills for memory, from a file that a test writes."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.usage.oom import MachineOomKills


def write(path: Path, count: object) -> None:
    path.write_text(f"pgfault 7\noom_kill {count}\noom_kill_disable 3\n")


def test_a_kill_counts_about_the_time_in_which_it_was_noticed(tmp_path: Path) -> None:
    file = tmp_path / "vmstat"
    write(file, 49)
    kills = MachineOomKills(file)
    kills.read(100.0)
    assert kills.around(100.0, now=101.0) == 0, "those before the first reading are old"
    write(file, 51)
    assert kills.around(102.0, now=102.1) == 2
    kills.read(110.0)
    assert kills.around(104.0, now=110.0) == 2
    assert kills.around(104.2, now=110.0) == 0
    assert kills.around(98.9, now=110.0) == 0


def test_what_cannot_be_read_is_no_kill(tmp_path: Path) -> None:
    file = tmp_path / "vmstat"
    kills = MachineOomKills(file)
    assert kills.around(1.0, now=1.0) == 0
    write(file, "x")
    assert kills.around(2.0, now=2.0) == 0
    file.write_text("pgfault 7\n")
    assert kills.around(3.0, now=3.0) == 0


@given(st.lists(st.tuples(st.floats(0.1, 10.0), st.integers(0, 3)), max_size=40))
def test_no_kill_is_lost_between_readings(tmp_path_factory: object, steps: list[tuple[float, int]]) -> None:
    file = Path(tmp_path_factory.mktemp("oom")) / "vmstat"  # type: ignore[attr-defined]
    kills, now, count = MachineOomKills(file), 0.0, 5
    write(file, count)
    kills.read(now)
    for seconds, killed in steps:
        at, now, count = now + seconds / 2, now + seconds, count + killed
        write(file, count)
        kills.read(now)
        assert kills.around(at, now) >= killed


def test_the_machines_own_count_is_read() -> None:
    kills = MachineOomKills()
    kills.read(0.0)
    assert kills._last is not None
