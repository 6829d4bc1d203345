from __future__ import annotations

import pytest

from aiidpd.api.client import RequestFailed
from aiidpd.components.thermal.api import gpus
from aiidpd.components.thermal.api.gpus import ReleaseRequest, release
from aiidpd.components.thermal.maintenance import DriverMaintenance
from aiidpd.kernel.errors import Unavailable
from tests.fakes.clock import FakeClock
from tests.fakes.control import ControlDaemon
from tests.fakes.control_fixtures import Asker


async def test_a_release_is_answered_once_the_driver_is_free_and_is_in_the_record(
    daemon: ControlDaemon, asker: Asker
) -> None:
    daemon.hold.release()
    daemon.hold.mark_free()  # as the worker does
    assert await asker.post("/v1/gpus/release") == {"released": True, "seconds_left": None}
    assert daemon.hold.active
    assert [event.evidence["request"] for event in await daemon.events("control.change")] == [
        "POST /v1/gpus/release"
    ]

    assert await asker.post("/v1/gpus/resume") == {"released": False, "seconds_left": None}
    assert not daemon.hold.active


async def test_a_release_for_a_while_says_how_long(daemon: ControlDaemon, asker: Asker) -> None:
    daemon.hold.release()
    daemon.hold.mark_free()
    answer = await asker.post("/v1/gpus/release", {"seconds": 600})
    assert answer["released"] is True
    assert 590 < answer["seconds_left"] <= 600


@pytest.mark.parametrize("body", [{"seconds": 0}, {"seconds": -1}, {"seconds": 1e9}, {"hours": 1}])
async def test_a_time_that_can_not_be_is_refused(
    daemon: ControlDaemon, asker: Asker, body: dict[str, float]
) -> None:
    with pytest.raises(RequestFailed) as caught:
        await asker.post("/v1/gpus/release", body)
    assert caught.value.status == 400
    assert not daemon.hold.active


async def test_a_driver_that_is_not_free_in_time_is_an_error(clock: FakeClock) -> None:
    class Impatient(DriverMaintenance):
        """A hold whose driver some process keeps."""

        async def wait_free(self, seconds: float) -> bool:
            assert seconds == gpus.FREE_WITHIN
            return False

    hold = Impatient(clock)
    with pytest.raises(Unavailable, match="the driver was not free after 8 s"):
        await release(hold, ReleaseRequest())
    assert hold.active  # the wish stands
