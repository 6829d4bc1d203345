"""GPUs and memory while a load runs, as the daemon sees them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiidpd.api.client import ControlClient, ControlError
from aiidpd.components.bench.accept.verdict import Measured

_EVERY: Final = 1.0  # seconds between two readings
_FEWEST: Final = 3  # readings, below which a mean says little
_KILLED: Final = "container.oom_killed"
_NAMED: Final = "container.failure_named"


class LoadWatch:
    """Reads the daemon from :meth:`start` to :meth:`stop`; ``connect`` opens a client of its own."""

    def __init__(self, connect: Callable[[], ControlClient], *, every: float = _EVERY) -> None:
        self._connect = connect
        self._every = every
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._documents: list[Mapping[str, Any]] = []
        self._began = 0.0
        self._problem = ""
        self._events: list[Mapping[str, Any]] | None = None

    def start(self) -> None:
        """Begin to read."""
        self._began = time.time()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read a last time, and wait until that is done. Can be called twice, and without a start."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def utilization(self) -> Measured:
        """Return the mean utilisation of the GPU that was used most."""
        if self._thread is None:
            return Measured(reason="no load ran")
        return self._without(_utilization(self._documents))

    def out_of_memory(self) -> Measured:
        """Return how many processes were killed or failed for lack of memory on this machine meanwhile."""
        if self._thread is None:
            return Measured(reason="no load ran")
        if self._events is None:
            return self._without(Measured(reason="the daemon's events could not be read"))
        return Measured(sum(map(_of_memory, self._events)), samples=1)

    def _without(self, found: Measured) -> Measured:
        return Measured(reason=self._problem) if found.value is None and self._problem else found

    def _read(self) -> None:
        try:
            with self._connect() as client:
                while True:
                    self._documents.append(client.get("/v1/gpus"))
                    if self._over.wait(self._every):
                        break
                document = client.get("/v1/events", since=self._began, kind="container.", limit=1000)
                self._events = document["events"]
        except ControlError as error:
            self._problem = f"the daemon does not show it: {error}"


def others(client: ControlClient, url: str) -> tuple[str, ...]:
    """Return a note where the daemon sees requests of others at the engine behind ``url``."""
    try:
        endpoints = client.get("/v1/bench/results")["endpoints"]
    except ControlError:
        return ()
    engines = [each["engine"] for each in endpoints if each["url"].rstrip("/") == url.rstrip("/")]
    running = sum(each["requests_running"] or 0 for each in engines if each and not each["includes_probe"])
    if not running:
        return ()
    return (f"others had {running} requests at this engine at the start: it is slower than alone",)


def _utilization(documents: Sequence[Mapping[str, Any]]) -> Measured:
    if any(each.get("simulated") for each in documents):
        return Measured(reason="the GPUs that the daemon shows are simulated")
    by_gpu: dict[str, list[float]] = defaultdict(list)
    for document in documents:
        for gpu in document["gpus"]:
            if gpu.get("utilisation_ratio") is not None:
                by_gpu[str(gpu["uuid"])].append(gpu["utilisation_ratio"])
    means = [sum(values) / len(values) for values in by_gpu.values() if len(values) >= _FEWEST]
    if not means:
        few = any(by_gpu.values())
        why = f"the load was over in fewer than {_FEWEST} readings: give it a longer duration"
        return Measured(reason=why if few else "the daemon shows no GPU")
    return Measured(max(means), samples=len(documents))


def _of_memory(event: Mapping[str, Any]) -> bool:
    if event.get("simulated"):
        return False
    kind, evidence = event.get("kind"), event.get("evidence") or {}
    return kind == _KILLED or (kind == _NAMED and "memory" in str(evidence.get("failure", "")))
