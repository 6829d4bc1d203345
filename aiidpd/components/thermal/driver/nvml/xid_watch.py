"""Xid events: faults that the driver reports, collected as they happen."""

from __future__ import annotations

import pynvml

from aiidpd.components.thermal.driver.nvml.invoke import ABSENT, LOST, Failed, Handle, Json, address, invoke

MOST = 256
"""As many events are taken in one reading; what is more waits for the next."""

_WAIT = "nvmlEventSetWait_v2"


class XidWatch:
    """An event set with every GPU that can report."""

    def __init__(self) -> None:
        self._set: Handle = None
        self._watched: dict[int, str] = {}
        self._lacking: set[int] = set()

    def register(self, handle: Handle, uuid: str) -> bool:
        """Add this GPU to the event set; return whether it can report. A card that can't is tried once."""
        gpu = address(handle)
        if gpu in self._lacking:
            return False
        if gpu not in self._watched:
            kind = pynvml.nvmlEventTypeXidCriticalError
            try:
                if self._set is None:
                    self._set = invoke("nvmlEventSetCreate", pynvml.nvmlEventSetCreate)
                invoke("nvmlDeviceRegisterEvents", pynvml.nvmlDeviceRegisterEvents, handle, kind, self._set)
            except Failed as error:
                if error.code not in ABSENT:
                    raise
                self._lacking.add(gpu)
                return False
        self._watched[gpu] = uuid
        return True

    def collect(self) -> tuple[list[Json], list[Json]]:
        """Return what happened since the last call, without waiting, and the faults of that."""
        caught: list[Json] = []
        for _ in range(MOST if self._watched else 0):
            try:
                event = invoke(_WAIT, pynvml.nvmlEventSetWait_v2, self._set, 0)
            except Failed as error:
                nothing = error.code == pynvml.NVML_ERROR_TIMEOUT
                # A lost GPU shows in each of its own calls.
                return caught, [] if nothing or error.code in LOST else [error.fault]
            uuid = self._watched.get(address(event.device))
            if uuid is not None and event.eventType == pynvml.nvmlEventTypeXidCriticalError:
                caught.append({"uuid": uuid, "code": event.eventData})
        return caught, []
