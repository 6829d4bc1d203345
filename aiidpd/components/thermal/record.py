"""What is kept of the GPUs, to be asked for: incidents, energy, history. The control API stands on this."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any

import anyio.to_thread

from aiidpd.components.thermal.energy.attribution import Share
from aiidpd.components.thermal.energy.counter import CARD_ACCURACY
from aiidpd.components.thermal.energy.meter import EnergyMeter, EnergyView
from aiidpd.components.thermal.energy.per_token import TokenEnergy, cost_of_million
from aiidpd.components.thermal.energy.state import GpuEnergy
from aiidpd.components.thermal.export import SampleHistory, rows
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.incidents.store import IncidentStore
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Invalid, NotFound, Unavailable
from aiidpd.kernel.latest import Latest

_JOULES_PER_KWH = 3.6e6
NO_TOKENS = (
    "no generated tokens were counted while the GPUs' energy was known: configure bench.endpoints, and wait "
    "for a measurement"
)


class GpuRecord:
    """Answers from the disk in threads, from memory at once. ``price`` gives price per kWh and currency."""

    def __init__(
        self,
        store: IncidentStore,
        energy: EnergyMeter,
        latest: Latest[GpuSnapshot],
        history: SampleHistory,
        clock: Clock,
        *,
        price: Callable[[], tuple[float, str]],
    ) -> None:
        self._store = store
        self._energy = energy
        self._latest = latest
        self._history = history
        self._clock = clock
        self._price = price

    async def incidents(self) -> list[dict[str, Any]]:
        """Return each incident in a line, the oldest first; raises :class:`Unavailable`."""
        try:
            return await anyio.to_thread.run_sync(self._store.summaries, abandon_on_cancel=True)
        except OSError as error:
            raise Unavailable("read", f"incidents in {self._store.folder}", reason=str(error)) from error

    async def incident(self, identity: str, points: int) -> dict[str, Any]:
        """Return an incident with at most ``points`` readings of each GPU.

        Raises :class:`NotFound` or :class:`Unavailable`.
        """
        try:
            return await anyio.to_thread.run_sync(
                lambda: self._store.read(identity, points), abandon_on_cancel=True
            )
        except OSError as error:
            raise Unavailable("read", f"incident {identity}", reason=str(error)) from error

    def energy(self) -> dict[str, Any]:
        """Return the account of energy with what it costs."""
        view = self._energy.view()
        price, currency = self._price()
        return {
            "since": view.since,
            "price_per_kwh": price,
            "currency": currency,
            "card_accuracy_ratio": CARD_ACCURACY,
            "gpus": [_gpu(gpu, price) for gpu in view.gpus],
            "containers": [_share(name, share, price) for name, share in _by_size(view)],
            "tokens": [_token(token, price) for token in view.tokens],
            "reason": "" if view.tokens else NO_TOKENS,
            "simulated": any(gpu.simulated for gpu in view.gpus),
        }

    async def history(
        self, gpu: str | None, since: float | None, until: float | None
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the rows of one GPU in [since, until) (Unix seconds; without them all there is).

        ``gpu`` is an index, a UUID or its beginning; it may be left out where there is only one. Raises
        :class:`NotFound`, :class:`Invalid` or :class:`Unavailable`.
        """
        now = self._clock.time()
        uuid = self._find(gpu)
        begin = now - 8 * 86_400 if since is None else since
        # Whole minutes: a row that stands for a minute is not cut in two.
        async for row in rows(self._history, uuid, begin // 60 * 60, now + 1 if until is None else until):
            yield asdict(row)

    def _find(self, gpu: str | None) -> str:
        reading = self._latest.get()
        present = {each.uuid: each.index for each in reading.value.gpus} if reading else {}
        known = {each.uuid: each.index for each in self._energy.view().gpus} | present
        if gpu is None:
            if len(known) == 1:
                return next(iter(known))
            if known:
                names = ", ".join(f"{index} ({uuid})" for uuid, index in sorted(known.items()))
                raise Invalid(
                    "export", "GPUs", reason=f"there are {len(known)}: {names}", remedy="name one with gpu"
                )
        else:
            # An index can name another card after a change: the one that is there now goes first.
            for held in (present, known):
                for uuid, index in held.items():
                    if gpu == str(index) or (not gpu.isdigit() and uuid.startswith(gpu)):
                        return uuid
        asked = "a GPU" if gpu is None else f"GPU {gpu}"
        have = ", ".join(str(index) for index in sorted(known.values())) or "none"
        raise NotFound("export", asked, reason=f"no such GPU was ever read (known: {have})")


def _gpu(gpu: GpuEnergy, price: float) -> dict[str, Any]:
    meter = gpu.meter
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "joules": meter.joules,
        "error_joules": meter.error,
        "method": meter.method.value if meter.method else None,
        "unknown_seconds": meter.unknown,
        "counter_resets": meter.resets,
        "cost": meter.joules / _JOULES_PER_KWH * price,
        "simulated": gpu.simulated,
    }


def _by_size(view: EnergyView) -> list[tuple[str, Share]]:
    return sorted(view.shares.items(), key=lambda item: (-item[1].joules, item[0]))


def _share(name: str, share: Share, price: float) -> dict[str, Any]:
    return {
        "name": name,
        "joules": share.joules,
        "low_joules": share.low(),
        "high_joules": share.high(),
        "sharing": share.shared.value,
        "cost": share.joules / _JOULES_PER_KWH * price,
    }


def _token(token: TokenEnergy, price: float) -> dict[str, Any]:
    generation = token.generation
    return {
        "source": generation.source,
        "counted_by": generation.counted_by.value,
        "started_at": generation.started_at,
        "ended_at": generation.ended_at,
        "tokens": generation.tokens,
        "joules_per_token": token.joules,
        "low_joules_per_token": token.low,
        "high_joules_per_token": token.high,
        "with_idle_joules_per_token": token.with_idle,
        "cost_per_million_tokens": cost_of_million(token.joules, price),
        "low_cost_per_million_tokens": cost_of_million(token.low, price),
        "high_cost_per_million_tokens": cost_of_million(token.high, price),
        "with_idle_cost_per_million_tokens": None
        if token.with_idle is None
        else cost_of_million(token.with_idle, price),
        "simulated": generation.simulated,
    }
