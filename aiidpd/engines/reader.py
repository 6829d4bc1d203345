"""Reads one inference engine: carries out the conversation that its profile holds, a request at a time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiidpd.contracts.engines import Residency
from aiidpd.engines.figures import EngineReading, PollLoad
from aiidpd.engines.identify import poll_engine
from aiidpd.engines.page import PageReader
from aiidpd.engines.profile import EngineProfile, Facts, Memory, PageRequest, Start


class EngineReader:
    """Engine at ``url``; which one it is and how it was started is found out where that is not given.

    ``find_start`` returns how an engine of this machine was started, None where that can't be known. It is
    called once, and again after the engine did not answer, for it may have been started anew since.
    """

    simulated = False

    def __init__(
        self,
        name: str,
        url: str,
        *,
        profile: EngineProfile | None = None,
        facts: Facts | None = None,
        api_key: str | None = None,
        find_start: Callable[[EngineProfile], Awaitable[Start | None]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = profile
        self._profile = profile
        self._facts = facts or Facts()
        self._found_start: Start | None = None
        self._searched = False
        self._find_start = find_start
        self._monotonic = monotonic
        self._memory = Memory()
        self._steps: int | None = None
        self._version: str | None = None  # None: not requested since the engine's start
        self._load = PollLoad()
        self._pages = PageReader(name, url, api_key=api_key, load=self._load, monotonic=monotonic)

    @property
    def load(self) -> PollLoad:
        """Load that reading it was so far."""
        return self._load

    async def read(self) -> EngineReading:
        """Poll once, with one request at a time, and wait for the answers."""
        profile = self._profile
        reading = await self._poll(profile)
        if self._profile is not profile and self._profile is not None and not self._searched:
            # It was found out just now, and with how it was started more may be known.
            await self._search(self._profile)
            if self._found_start is not None:
                reading = await self._poll(self._profile)
        if reading.residency is Residency.UNKNOWN or self._went_back(reading):
            self._profile, self._searched, self._found_start = self._given, False, None
            self._memory = replace(self._memory, page=None)
            self._version = None
            return reading
        return replace(reading, version=await self._read_version())

    async def _read_version(self) -> str:
        """Return the engine's version, requested once in its life; empty where it has no page of it."""
        wanted = self._profile.version if self._profile is not None else None
        if self._version is None and wanted is not None:
            reply = await self._pages.get(PageRequest(wanted.path))
            if not (reply.good or reply.absent):
                return ""
            self._version = wanted.of(reply)
        return self._version or ""

    def _went_back(self, reading: EngineReading) -> bool:
        """Return whether its counter of steps fell, as it does where the engine was started anew."""
        steps = getattr(reading.figures, "steps", None)
        before, self._steps = self._steps, steps
        return steps is not None and before is not None and steps < before

    async def aclose(self) -> None:
        """Close the connections. Can be called twice; a read afterwards opens them again."""
        await self._pages.aclose()

    async def _poll(self, profile: EngineProfile | None) -> EngineReading:
        if profile is not None and not self._searched:
            await self._search(profile)
        facts = self._facts
        if facts.start is None:
            facts = replace(facts, start=self._found_start)
        conversation = poll_engine(profile, facts, self._memory, self._monotonic())
        try:
            request = next(conversation)
            while True:
                request = conversation.send(await self._pages.get(request))
        except StopIteration as end:
            self._profile, reading, self._memory = end.value
        found: EngineReading = reading
        return found

    async def _search(self, profile: EngineProfile) -> None:
        self._searched = True
        if profile.start_decides and self._facts.start is None and self._find_start is not None:
            self._found_start = await self._find_start(profile)
