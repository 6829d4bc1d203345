from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.control import ControlDaemon, control_daemon
from tests.unit.cli.test_cli import ctl


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[ControlDaemon]:
    async with control_daemon(tmp_path) as daemon:
        daemon.hold.release()
        daemon.hold.mark_free()  # as a worker does
        yield daemon


async def test_release_and_resume_say_what_came_of_it(daemon: ControlDaemon) -> None:
    released = await ctl(daemon, "gpu", "release")
    assert (released.code, released.out) == (0, "")
    assert "the driver is free, and no GPU is read, until `aiidpctl gpu resume`" in released.err
    assert daemon.hold.active

    resumed = await ctl(daemon, "gpu", "resume", "--json")
    assert resumed.code == 0
    assert '"released": false' in resumed.out
    assert not daemon.hold.active


async def test_a_release_may_end_by_itself(daemon: ControlDaemon) -> None:
    released = await ctl(daemon, "gpu", "release", "--for", "10min")
    assert released.code == 0
    assert 590 < (daemon.hold.seconds_left or 0) <= 600
    assert "s from now" in released.err


async def test_what_is_no_time_is_a_usage_error(daemon: ControlDaemon) -> None:
    assert (await ctl(daemon, "gpu", "release", "--for", "soon")).code == 2
