"""The account of energy as it stands on the disk between two daemons (pure)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Final

from aiidpd.components.thermal.energy.attribution import Share, Shares, Sharing
from aiidpd.components.thermal.energy.counter import EnergyCounter

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class GpuEnergy:
    """The account of one GPU."""

    uuid: str
    index: int
    name: str
    meter: EnergyCounter
    simulated: bool


@dataclass(frozen=True, slots=True)
class EnergyState:
    """What is kept; ``since`` is when the account began, in Unix seconds."""

    since: float
    gpus: tuple[GpuEnergy, ...]
    shares: Shares


def encode(since: float, gpus: Iterable[GpuEnergy], shares: Shares, time: float, now: float) -> bytes:
    """Return the document, saved at ``time`` (Unix seconds) and ``now`` (monotonic seconds)."""
    # Monotonic seconds mean nothing to the next process: what it needs is how old a sum is.
    document = {
        "format": FORMAT,
        "since": since,
        "saved_at": time,
        "gpus": [
            asdict(gpu)
            | {
                "age": now - (gpu.meter.at or now),
                "counter_age": now - (gpu.meter.counter_at if gpu.meter.counter is not None else now),
            }
            for gpu in gpus
        ],
        "shares": {name: asdict(share) for name, share in shares.items()},
    }
    return json.dumps(document, allow_nan=False).encode()


def decode(data: bytes, time: float, now: float) -> EnergyState:
    """Return what :func:`encode` was given, in this process's seconds.

    Raises :class:`ValueError`, :class:`TypeError`, :class:`LookupError` or :class:`AttributeError` for what
    is no such document.
    """
    document: Mapping[str, Any] = json.loads(data)
    if document["format"] != FORMAT:
        raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
    away = max(0.0, time - float(document["saved_at"]))
    return EnergyState(
        float(document["since"]),
        tuple(_gpu(gpu, now - away) for gpu in document["gpus"]),
        MappingProxyType(
            {
                str(name): Share(
                    float(share["joules"]),
                    float(share["certain"]),
                    float(share["possible"]),
                    Sharing(share["shared"]),
                )
                for name, share in document["shares"].items()
            }
        ),
    )


def _gpu(gpu: Mapping[str, Any], saved: float) -> GpuEnergy:
    numbers = {
        each.name: gpu["meter"][each.name]
        for each in fields(EnergyCounter)
        if each.name not in ("power", "at", "counter_at")
    }
    meter = replace(
        EnergyCounter(**{name: _number(value) for name, value in numbers.items()}),  # type: ignore[arg-type]
        at=saved - float(gpu["age"]),
        counter_at=saved - float(gpu["counter_age"]),
    )
    meter = replace(meter, resets=int(meter.resets))
    return GpuEnergy(str(gpu["uuid"]), int(gpu["index"]), str(gpu["name"]), meter, bool(gpu["simulated"]))


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} where a sum belongs")
    return float(value)
