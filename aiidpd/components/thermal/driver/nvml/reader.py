"""Reader: NVML, initialised at the first request, and the GPUs that it lists."""

from __future__ import annotations

from collections.abc import Sequence

import pynvml

from aiidpd.components.thermal.driver.nvml import commands
from aiidpd.components.thermal.driver.nvml.calls import CALLS, Call
from aiidpd.components.thermal.driver.nvml.card import SLOW_EVERY, Card
from aiidpd.components.thermal.driver.nvml.invoke import GONE, Failed, Json, address, invoke
from aiidpd.components.thermal.driver.nvml.xid_watch import XidWatch

_VERSION = "nvmlSystemGetDriverVersion"


class Reader:
    """Reads and sets every GPU that the driver lists. ``calls`` are made for each GPU."""

    def __init__(self, calls: Sequence[Call] = CALLS) -> None:
        self._calls = calls
        self._driver: str | None = None
        self._cards: dict[str, Card] = {}  # by UUID: once a GPU was lost, its index can name another card
        self._listed: list[tuple[int, str]] = []
        self._unlisted: list[Failed] = []
        self._watch = XidWatch()
        self._pass = 0

    def read(self, request: Json) -> Json:
        """Return the readings of all GPUs, or the error where not one could be read.

        A fast reading is made where the last full one found every GPU.
        """
        fast = request["fast"] and bool(self._listed) and not self._unlisted
        try:
            answer = self._read(fast=fast)
        except Failed as error:
            answer = {"error": error.fault}
        caught, faults = ([], []) if fast else self._watch.collect()
        if "faults" in answer:
            answer["faults"] += faults
        return {**answer, "xids": caught}

    def apply(self, request: Json) -> Json:
        """Change a setting; return the fault, or none."""
        try:
            self._initialise()
        except Failed as error:
            return {"fault": error.fault}
        return {"fault": commands.apply(request)}

    def _initialise(self) -> None:
        if self._driver is None:
            invoke("nvmlInit", pynvml.nvmlInit)
            self._driver = invoke(_VERSION, pynvml.nvmlSystemGetDriverVersion)

    def _read(self, *, fast: bool) -> Json:
        self._initialise()
        faults: list[Json] = []
        if not fast:
            self._check_driver()
            self._enumerate(faults)
        gpus: list[Json] = []
        for index, uuid in tuple(self._listed):
            try:
                gpus.append(self._gpu(index, uuid, faults, fast=fast))
            except Failed as error:
                self._forget(index, uuid, error)
        if not gpus:
            raise self._unlisted[0]
        faults += (error.fault for error in self._unlisted)
        return {"driver_version": self._driver, "gpus": gpus, "faults": faults}

    def _check_driver(self) -> None:
        if self._pass % SLOW_EVERY == 0 and self._pass:
            version = invoke(_VERSION, pynvml.nvmlSystemGetDriverVersion)
            if version != self._driver:
                raise Failed(_VERSION, None, "DRIVER_CHANGED")
        self._pass += 1

    def _enumerate(self, faults: list[Json]) -> None:
        count: int = invoke("nvmlDeviceGetCount", pynvml.nvmlDeviceGetCount)
        if count == 0:
            raise Failed("nvmlDeviceGetCount", None, "NO_GPUS")
        self._listed, self._unlisted = [], []
        for index in range(count):
            try:
                self._list(index, faults)
            except Failed as error:
                self._forget(index, None, error)
        present = {uuid for _, uuid in self._listed}
        self._cards = {uuid: card for uuid, card in self._cards.items() if uuid in present}

    def _list(self, index: int, faults: list[Json]) -> None:
        handle = invoke("nvmlDeviceGetHandleByIndex", pynvml.nvmlDeviceGetHandleByIndex, index)
        uuid: str = invoke("nvmlDeviceGetUUID", pynvml.nvmlDeviceGetUUID, handle)
        card = self._cards.get(uuid)
        if card is None or card.address != address(handle):
            # A GPU that moved while it was read may have been taken for another: all is read anew.
            name = invoke("nvmlDeviceGetName", pynvml.nvmlDeviceGetName, handle)
            card = self._cards[uuid] = Card(handle, name, self._calls, index)
        self._listed.append((index, uuid))
        try:
            card.reports = self._watch.register(handle, uuid)
        except Failed as error:
            card.reports = False
            error.fault["index"] = index
            faults.append(error.fault)

    def _gpu(self, index: int, uuid: str, faults: list[Json], *, fast: bool) -> Json:
        card = self._cards[uuid]
        figures, failed = card.read(fast=fast)
        faults += ({**fault, "index": index} for fault in failed)
        if figures.get("mig_enabled") != card.mig:
            if card.mig is not None:
                del self._cards[uuid]  # its figures are others when it is divided: all is read anew
            card.mig = figures.get("mig_enabled")
        return {"index": index, "uuid": uuid, "name": card.name, "reports_xids": card.reports, **figures}

    def _forget(self, index: int, uuid: str | None, error: Failed) -> None:
        """Leave a GPU out of this reading, and read it anew next time; what concerns all is raised again."""
        if error.code in GONE:
            raise error
        error.fault["index"] = index
        self._unlisted.append(error)
        if uuid is not None:
            self._listed.remove((index, uuid))
            self._cards.pop(uuid, None)
