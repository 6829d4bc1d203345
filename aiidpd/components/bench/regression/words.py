"""Regressions in words."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from aiidpd.components.bench.regression.circumstances import Change, Value
from aiidpd.components.bench.regression.shift import Shift

NAMES: Final = {"output_tokens_per_second": "output tokens/s", "ttft_seconds": "time to first token"}
_MOST: Final = 4
_LONGEST: Final = 60


def shift_words(figure: str, shift: Shift) -> str:
    """Return the size, the confidence and the onset of a shift as one phrase."""
    low, high = sorted(abs(each - 1) for each in (shift.ratio_low, shift.ratio_high))
    way = "below" if shift.ratio < 1 else "above"
    grew = "growing since about" if shift.shape == "gradual" else "since"
    return (
        f"{NAMES.get(figure, figure)} {abs(shift.ratio - 1):.1%} {way} the baseline "
        f"({low:.1%} to {high:.1%}; confidence {confidence_words(shift.confidence)}), "
        f"{grew} {moment(shift.onset)}"
    )


def confidence_words(confidence: float) -> str:
    """Return the confidence in percent, cut and never rounded up to all."""
    return f"{min(999, int(confidence * 1000)) / 10:g} %"


def changed_words(changes: Iterable[Change]) -> str:
    """Return what changed, the nearest to the onset first."""
    found = [*changes]
    shown = [f"{each.name} from {_value(each.before)} to {_value(each.after)}" for each in found[:_MOST]]
    if len(found) > _MOST:
        shown.append(f"{len(found) - _MOST} more")
    return ", ".join(shown) or "nothing that is known"


def moment(at: float) -> str:
    """Return ``at`` (Unix seconds) in local time, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _value(value: Value) -> str:
    if value is None:
        return "unknown"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
