"""Errors of predicted decode speeds on published results: ``python -m bench.physics``.

Weights and bandwidth alone, with the name of the device, and calibrated with another model of it. It ends
with 1 where a gate is not met. The rows of ``published_decode.csv`` are those that constants were fitted on;
those of ``published_decode_check.csv`` were not (but for M1, which has no others). Leaving a device out
fits its family anew without its rows.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiidpd.physics.efficiency import GENERAL, Efficiency, Measured, calibrated
from aiidpd.physics.hardware import Hardware, parse_hardware
from aiidpd.physics.units import GB, GIB
from bench.harness import report

ROOT: Final = Path(__file__).resolve().parents[1]
FITTED: Final = ROOT / "bench/data/published_decode.csv"
CHECK: Final = ROOT / "bench/data/published_decode_check.csv"
_FITTED_ON_CHECK: Final = "apple-m1"
_WORST: Final = 0.35  # an error of a row counts as this at most while a family is fitted: builds differ


@dataclass(frozen=True)
class Row:
    """One published result of one request at a time."""

    gpu: str
    bandwidth: float
    read: float
    speed: float

    def error(self, efficiency: Efficiency) -> float:
        """Return the relative error of the speed that ``efficiency`` predicts."""
        return abs(1 / efficiency.seconds(self.read, self.bandwidth) / self.speed - 1)


def rows(path: Path) -> list[Row]:
    """Return the rows of a table of published results."""
    with path.open(newline="") as lines:
        return [
            Row(
                each["gpu"],
                float(each["bandwidth_gb_s"]) * GB,
                float(each["weights_gib"]) * GIB,
                float(each["tg_tok_s"]),
            )
            for each in csv.DictReader(lines)
        ]


def hardware() -> Hardware:
    """Return the devices that the package knows."""
    return parse_hardware((ROOT / "aiidpd/physics/hardware.toml").read_text())


def quantile(values: Iterable[float], share: float) -> float:
    """Return the nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def exceeded(published: Sequence[Row]) -> int:
    """Return how many rows are faster than bandwidth / weights."""
    return sum(row.speed > row.bandwidth / row.read for row in published)


def errors_alone(published: Sequence[Row]) -> list[float]:
    """Return the errors by weights and bandwidth alone."""
    return [row.error(GENERAL) for row in published]


def errors_named(published: Sequence[Row], known: Hardware) -> list[float]:
    """Return the errors where the device's name is given too."""
    return [row.error(known.efficiency(known.find(row.gpu, row.bandwidth))) for row in published]


def errors_calibrated(published: Sequence[Row], known: Hardware) -> list[float]:
    """Return the errors of each row, calibrated by each other model of the same device."""
    found = []
    for row in published:
        family = known.efficiency(known.find(row.gpu, row.bandwidth))
        for other in published:
            if other is not row and other.gpu == row.gpu and other.read != row.read:
                of = calibrated(family, [Measured(other.read, other.speed)], row.bandwidth)
                found.append(row.error(of))
    return found


def fitted(published: Sequence[Row]) -> Efficiency:
    """Return the constants that fit ``published`` best: least bounded errors, weakly tied to usual ones."""
    best, found = math.inf, GENERAL
    for share in range(56, 98):
        for overhead in range(60):
            of = Efficiency(share / 100, overhead / 10_000)
            off = sum(
                min(abs(math.log(of.seconds(row.read, row.bandwidth) * row.speed)), _WORST)
                for row in published
            )
            off += 0.005 * (abs(share - 88) / 5 + abs(overhead - 17) / 10)
            if off < best:
                best, found = off, of
    return found


def errors_left_out(published: Sequence[Row], known: Hardware) -> list[float]:
    """Return the errors where each device's family is fitted without it; the general ones if none is left."""
    found = []
    for gpu in sorted({row.gpu for row in published}):
        device = known.find(gpu, next(row.bandwidth for row in published if row.gpu == gpu))
        rest = [
            row
            for row in published
            if (other := known.find(row.gpu, row.bandwidth)).family == device.family and other != device
        ]
        of = fitted(rest) if rest and device.family in known.families else GENERAL
        found += [row.error(of) for row in published if row.gpu == gpu]
    return found


def main() -> int:
    """Print the errors; return 1 where a gate is not met."""
    known = hardware()
    published, check = rows(FITTED), rows(CHECK)
    unseen = [row for row in check if known.find(row.gpu, row.bandwidth).family != _FITTED_ON_CHECK]
    figures: dict[str, tuple[float, float | None]] = {
        "ceiling exceeded": (exceeded([*published, *check]), 0.0),
    }
    limits: tuple[tuple[str, Callable[[], list[float]], float | None, float | None], ...] = (
        ("alone", lambda: errors_alone(published), 10, 45),
        ("named", lambda: errors_named(published, known), None, 30),
        ("calibrated", lambda: errors_calibrated(published, known), 5, 15),
        ("device left out", lambda: errors_left_out(published, known), None, None),
        ("unseen, alone", lambda: errors_alone(unseen), None, None),
        ("unseen, named", lambda: errors_named(unseen, known), None, None),
        ("unseen, calibrated", lambda: errors_calibrated(unseen, known), None, None),
        ("M1, named", lambda: errors_named([row for row in check if row not in unseen], known), None, None),
    )
    for label, errors, median, tail in limits:
        values = errors()
        figures[f"{label}, median"] = (100 * quantile(values, 0.5), median)
        figures[f"{label}, p90"] = (100 * quantile(values, 0.9), tail)
    counted = figures.pop("ceiling exceeded")
    report("physics", "%", figures)
    print(f"{len(published)} rows fitted on, {len(check)} others; ceiling exceeded in {counted[0]:.0f}")
    figures["ceiling exceeded"] = counted
    return int(any(limit is not None and value > limit for value, limit in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
