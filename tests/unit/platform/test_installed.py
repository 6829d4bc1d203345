from __future__ import annotations

from pathlib import Path

import pytest

from aiidpd.kernel.errors import Inactive, NotInstalled, Unavailable
from aiidpd.platform.installed import Installed
from tests.fakes.clock import FakeClock
from tests.waiting import PATIENCE

MISSING = NotInstalled("read", "GPUs", reason="there is no library", remedy="install it")


def installed(folder: Path, clock: FakeClock, mode: str = "auto") -> Installed:
    return Installed(folder / "seen.json", clock, "gpu.library", lambda: mode)


def test_what_was_never_there_is_no_fault(tmp_path: Path, clock: FakeClock) -> None:
    explained = installed(tmp_path, clock).explain(MISSING)
    assert isinstance(explained, Inactive)
    assert str(explained) == "nothing to do for GPUs: there is no library"
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_named_is_a_fault(tmp_path: Path, clock: FakeClock) -> None:
    assert installed(tmp_path, clock, "nvml").explain(MISSING) is MISSING


def test_what_was_there_is_missed_by_the_next_daemon_too(tmp_path: Path, clock: FakeClock) -> None:
    first = installed(tmp_path, clock)
    first.confirm()
    first.confirm()
    first.wait(PATIENCE)
    for each in (first, installed(tmp_path, clock)):
        explained = each.explain(MISSING)
        assert isinstance(explained, Unavailable)
        assert str(explained) == (
            "cannot read GPUs: there is no library, and it was there before; "
            'install it; where it was removed for good: gpu.library = "off"'
        )


def test_what_was_switched_off_is_not_missed_any_more(tmp_path: Path, clock: FakeClock) -> None:
    first = installed(tmp_path, clock)
    first.confirm()
    first.forget()
    first.forget()
    first.wait(PATIENCE)
    assert not first.before
    assert not installed(tmp_path, clock).before
    assert isinstance(first.explain(MISSING), Inactive)
    first.confirm()
    first.wait(PATIENCE)
    assert installed(tmp_path, clock).before


@pytest.mark.parametrize("content", ["", "{", '{"version": 2, "at": 1.0}', '{"version": 1}'])
def test_a_file_that_cannot_be_read_counts_as_seen(content: str, tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "seen.json").write_text(content)
    assert installed(tmp_path, clock).before
