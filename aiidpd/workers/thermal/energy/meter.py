"""Keeps the account of energy: takes every snapshot, and carries its sums over restarts."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import anyio
import anyio.to_thread

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Event, Severity
from aiidpd.system.atomic import write_atomic
from aiidpd.workers.thermal.energy.account import (
    Generation,
    Meter,
    Share,
    Shares,
    Sharing,
    TokenEnergy,
    Trace,
    advance,
    bounded,
    per_token,
    share_out,
)
from aiidpd.workers.thermal.gpu import GpuReading, GpuSnapshot

SOURCE: Final = "thermal"
FORMAT: Final = 1
_LONGEST_GAP = 10.0  # seconds
_SAVE_EVERY = 60.0
_SAVE_WITHIN = 1.0
_ASK_EVERY = 5.0
_TRACE = 3600  # points: a quarter of an hour at four readings a second
_MOST_HOLDERS = 64
_MOST_SOURCES = 64
_MOST_GPUS = 64


@dataclass(frozen=True, slots=True)
class GpuEnergy:
    """The account of one GPU."""

    uuid: str
    index: int
    name: str
    meter: Meter
    simulated: bool


@dataclass(frozen=True, slots=True)
class EnergyView:
    """The whole account; ``since`` is when it began, in Unix seconds."""

    since: float
    gpus: tuple[GpuEnergy, ...]
    shares: Shares
    tokens: tuple[TokenEnergy, ...]


class EnergyMeter:
    """An observer that outlives the worker; ``path`` is where its sums survive the daemon.

    ``names`` gives the containers' names by id, ``generations`` the tokens that somebody counted lately.
    """

    def __init__(
        self,
        path: Path,
        bus: EventBus,
        clock: Clock,
        *,
        names: Callable[[], Mapping[str, str]] = dict,
        generations: Callable[[], Iterable[Generation]] = tuple,
    ) -> None:
        self._path = path
        self._bus = bus
        self._clock = clock
        self._names = names
        self._generations = generations
        self._since = clock.time()
        self._gpus: dict[str, GpuEnergy] = {}
        self._shares: Shares = MappingProxyType({})
        self._trace: deque[tuple[float, float]] = deque(maxlen=_TRACE)
        self._tokens: dict[str, TokenEnergy] = {}
        self._asked = -math.inf
        self._problem = self._load()

    def view(self) -> EnergyView:
        """Return the account as it now is."""
        gpus = tuple(sorted(self._gpus.values(), key=lambda gpu: (gpu.index, gpu.uuid)))
        return EnergyView(self._since, gpus, self._shares, tuple(self._tokens.values()))

    def observe(self, snapshot: GpuSnapshot, at: float, now: float) -> None:
        """See :class:`~aiidpd.workers.thermal.observer.Observer`."""
        if any(gpu.simulated != snapshot.simulated for gpu in self._gpus.values()):
            self._begin_anew()  # what is made up and what is real have no common account
        names = self._names()
        spent = 0.0
        for reading in snapshot.gpus:
            spent += self._count(reading, names, now, simulated=snapshot.simulated)
        self._shares = bounded(self._shares, _MOST_HOLDERS)
        if self._trace and not at > self._trace[-1][0]:
            self._trace.clear()  # the clock was set: nothing before can be compared
        total = self._trace[-1][1] if self._trace else 0.0
        self._trace.append((at, total + spent))
        if now - self._asked >= _ASK_EVERY:
            self._asked = now
            self._ask(simulated=snapshot.simulated)

    async def run(self) -> None:
        """Write the sums to disk now and then, and once more at the end."""
        if self._problem:
            self._complain(self._problem)
            self._problem = ""
        failed = False
        try:
            while True:
                await self._clock.sleep(_SAVE_EVERY)
                try:
                    await anyio.to_thread.run_sync(self._write, self._encoded(), abandon_on_cancel=True)
                except OSError as error:
                    if not failed:
                        self._complain(
                            f"cannot write {self._path}: {error}; the sums of now end with the daemon"
                        )
                    failed = True
                else:
                    failed = False
        finally:
            with anyio.move_on_after(_SAVE_WITHIN, shield=True), suppress(OSError):
                await anyio.to_thread.run_sync(self._write, self._encoded(), abandon_on_cancel=True)

    def _begin_anew(self) -> None:
        self._since = self._clock.time()
        self._gpus.clear()
        self._shares = MappingProxyType({})
        self._trace.clear()
        self._tokens.clear()

    def _count(self, reading: GpuReading, names: Mapping[str, str], now: float, *, simulated: bool) -> float:
        known = self._gpus.get(reading.uuid)
        if known is None:
            if len(self._gpus) >= _MOST_GPUS:
                del self._gpus[min(self._gpus, key=lambda uuid: self._gpus[uuid].meter.at or 0.0)]
            known = GpuEnergy(reading.uuid, reading.index, reading.name, Meter(), simulated)
        elapsed = now - (now if known.meter.at is None else known.meter.at)
        meter, joules = advance(known.meter, reading, now, longest_gap=_LONGEST_GAP)
        self._gpus[reading.uuid] = replace(
            known, index=reading.index, name=reading.name, meter=meter, simulated=simulated
        )
        # Who held it over a long gap is not known, although the card counted on.
        processes = None if elapsed > _LONGEST_GAP else reading.processes
        self._shares = share_out(self._shares, joules, processes, names)
        return joules

    def _ask(self, *, simulated: bool) -> None:
        trace: Trace | None = None
        for generation in self._generations():
            known = self._tokens.get(generation.source)
            if known is not None and known.generation.ended_at >= generation.ended_at:
                continue
            trace = trace or Trace(tuple(self._trace))
            marked = replace(generation, simulated=generation.simulated or simulated)
            found = per_token(marked, trace)
            if found is not None and (known is not None or len(self._tokens) < _MOST_SOURCES):
                self._tokens[generation.source] = found

    def _complain(self, reason: str) -> None:
        self._bus.publish(
            Event(self._clock.time(), SOURCE, "gpu.energy_not_kept", reason, severity=Severity.WARNING)
        )

    def _encoded(self) -> bytes:
        # Monotonic seconds mean nothing to the next process: what it needs is how old a sum is.
        now = self._clock.monotonic()
        document = {
            "format": FORMAT,
            "since": self._since,
            "saved_at": self._clock.time(),
            "gpus": [
                asdict(gpu)
                | {
                    "age": now - (gpu.meter.at or now),
                    "counter_age": now - (gpu.meter.counter_at if gpu.meter.counter is not None else now),
                }
                for gpu in self._gpus.values()
            ],
            "shares": {name: asdict(share) for name, share in self._shares.items()},
        }
        return json.dumps(document, allow_nan=False).encode()

    def _write(self, data: bytes) -> None:
        write_atomic(self._path, data, mode=0o640)

    def _load(self) -> str:
        """Take over what the last daemon left; return why that could not be, or nothing."""
        try:
            document = json.loads(self._path.read_bytes())
            self._take_over(document)
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            self._begin_anew()
            return f"cannot read {self._path} ({error}); the account of energy begins anew"
        return ""

    def _take_over(self, document: Mapping[str, Any]) -> None:
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
        away = max(0.0, self._clock.time() - float(document["saved_at"]))
        now = self._clock.monotonic()
        for gpu in document["gpus"]:
            numbers = {
                each.name: gpu["meter"][each.name]
                for each in fields(Meter)
                if each.name not in ("power", "at", "counter_at")
            }
            meter = replace(
                Meter(**{name: _number(value) for name, value in numbers.items()}),  # type: ignore[arg-type]
                at=now - away - float(gpu["age"]),
                counter_at=now - away - float(gpu["counter_age"]),
            )
            meter = replace(meter, resets=int(meter.resets))
            about = (str(gpu["uuid"]), int(gpu["index"]), str(gpu["name"]))
            self._gpus[about[0]] = GpuEnergy(*about, meter, bool(gpu["simulated"]))
        self._shares = MappingProxyType(
            {
                str(name): Share(
                    float(share["joules"]),
                    float(share["certain"]),
                    float(share["possible"]),
                    Sharing(share["shared"]),
                )
                for name, share in document["shares"].items()
            }
        )
        self._since = float(document["since"])


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} where a sum belongs")
    return float(value)
