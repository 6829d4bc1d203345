"""State of the log of one container from one reading to the next, and the readings (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

READINGS: Final = 3
"""Readings in a row after which a storm has begun, or has ended."""

CLEAN_READINGS: Final = 2
"""Readings in a row of a later run without a line about the lost GPU after which it is there again."""


@dataclass(frozen=True, slots=True)
class LogReading:
    """Newest lines of the log of a running container. Times in Unix seconds, rates a second.

    ``run`` is when its run started. ``repeated`` is the line that came most often, ``share`` how large a part
    of the lines that was. ``lost`` is the last line about a lost GPU in this run since the reading before,
    empty where there is none. ``works``: its engine makes progress, None where that is not known.
    """

    run: float
    at: float
    lines_per_second: float
    bytes_per_second: float
    repeated: str = ""
    share: float = 0.0
    lost: str = ""
    works: bool | None = None


@dataclass(frozen=True, slots=True)
class Storm:
    """A log that grows too fast, as the last reading above the threshold has it."""

    lines_per_second: float
    bytes_per_second: float
    repeated: str
    share: float


@dataclass(frozen=True, slots=True)
class LostGpu:
    """A GPU that a container has lost: the ``run`` that said so, when, and in which words."""

    run: float
    at: float
    line: str
    works: bool | None = None


@dataclass(frozen=True, slots=True)
class LogState:
    """State of one container's log. ``above`` and ``below`` count readings in a row; ``clean`` likewise."""

    above: int = 0
    below: int = 0
    clean: int = 0
    storm: Storm | None = None
    lost: LostGpu | None = None
