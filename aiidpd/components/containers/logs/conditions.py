"""Conditions that logs show: a storm of lines, a GPU that the container has lost."""

from __future__ import annotations

from typing import Final

from aiidpd.components.containers.logs.failures import GPU_LOST, failure
from aiidpd.components.containers.logs.state import LostGpu, Storm
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity

SOURCE: Final = "containers.logs"
STORM: Final = "container_log_storm"
LOST: Final = "container_gpu_lost"
TYPES: Final = (STORM, LOST)
_DAY: Final = 86400.0
_LONGEST: Final = 160  # characters of a line that are shown
_OFTEN: Final = 0.1  # share of the lines from which on a line is worth to be shown


def clip(line: str) -> str:
    """Return the part of ``line`` that is shown."""
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}\N{HORIZONTAL ELLIPSIS}"


def storm_condition(name: str, storm: Storm) -> Condition:
    """Return the condition of the container ``name`` whose log grows too fast."""
    size = storm.bytes_per_second * _DAY / 2**30
    often = f"; {storm.share:.0%} of them like: {clip(storm.repeated)}" if storm.share >= _OFTEN else ""
    return Condition(
        STORM,
        name,
        Severity.WARNING,
        f"it writes {storm.lines_per_second:.0f} lines a second, {size:.1f} GiB a day{often}",
        f"`docker logs --tail 20 {name}` shows them; bound its log (docker run --log-opt max-size=50m "
        "--log-opt max-file=3), and set the engine to write less",
        source=SOURCE,
    )


def lost_condition(name: str, lost: LostGpu) -> Condition:
    """Return the condition of the container ``name`` that has lost its GPU."""
    known = failure(GPU_LOST)
    return Condition(
        LOST,
        name,
        Severity.ERROR,
        f"it has lost its GPU: its log says {clip(lost.line)!r}",
        known.remedy if known is not None else "",
        source=SOURCE,
    )
