from __future__ import annotations

import asyncio

import anyio.lowlevel

from aiidpd.api import jobs
from tests.fakes.control import ControlDaemon
from tests.waiting import PATIENCE


async def test_a_job_is_followed_to_its_end(daemon: ControlDaemon) -> None:
    job = daemon.queues["backup"].submit()

    async def work() -> None:
        with job.running():
            for number in range(200):
                job.progress("copying", number, 200, "files")
                await anyio.lowlevel.checkpoint()
            job.succeed(files=200)

    task = asyncio.create_task(work())
    async with asyncio.timeout(PATIENCE):
        lines = [line async for line in jobs.stream(job)]
    await task
    assert lines[-1].state == "succeeded"
    assert lines[-1].result == {"files": 200}
    assert len(lines) < 100  # many changes in quick succession are told as few
