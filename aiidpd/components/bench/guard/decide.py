"""Course of an upgrade: which stage comes next, and what is wished of the containers in it (pure).

Only one way leads to KEPT: through every stage without a failure. From anywhere else the next stage is the
way back. A wish that nobody repeats is one to go back as well, so that it makes no difference where whoever
follows this course is killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aiidpd.contracts.trials import Wish


class Stage(StrEnum):
    """Part of an upgrade."""

    BEGIN = "begin"
    """The image is fetched where it is not here, and the trial entered."""

    BASELINE = "baseline"
    """The old engine is measured."""

    START_BESIDE = "start beside"
    COMPARE = "compare"
    """Both are measured by pairs."""

    DRAIN = "drain"
    """Nobody is to be served when the old one stops."""

    SWAP = "swap"
    READY = "ready"
    """The new engine is to answer."""

    SETTLE = "settle"
    """It is to stay well for a while."""

    ACCEPT = "accept"
    MEASURE = "measure"
    DRAIN_BACK = "drain back"
    SWAP_BACK = "swap back"
    """The old one serves again, to be measured once more."""

    READY_BACK = "ready back"
    REPEAT = "repeat"
    DRAIN_AGAIN = "drain again"
    SWAP_AGAIN = "swap again"
    READY_AGAIN = "ready again"
    JUDGE = "judge"
    KEEP = "keep"
    RETURN = "return"
    KEPT = "kept"
    RETURNED = "returned"

    @property
    def final(self) -> bool:
        """True where nothing comes after it."""
        return self in (Stage.KEPT, Stage.RETURNED)


_NEXT: Final[Mapping[Stage, Stage]] = MappingProxyType(
    {
        Stage.BEGIN: Stage.BASELINE,
        Stage.BASELINE: Stage.DRAIN,
        Stage.START_BESIDE: Stage.COMPARE,
        Stage.COMPARE: Stage.DRAIN,
        Stage.DRAIN: Stage.SWAP,
        Stage.SWAP: Stage.READY,
        Stage.READY: Stage.SETTLE,
        Stage.SETTLE: Stage.ACCEPT,
        Stage.ACCEPT: Stage.MEASURE,
        Stage.MEASURE: Stage.JUDGE,
        Stage.DRAIN_BACK: Stage.SWAP_BACK,
        Stage.SWAP_BACK: Stage.READY_BACK,
        Stage.READY_BACK: Stage.REPEAT,
        Stage.REPEAT: Stage.DRAIN_AGAIN,
        Stage.DRAIN_AGAIN: Stage.SWAP_AGAIN,
        Stage.SWAP_AGAIN: Stage.READY_AGAIN,
        Stage.READY_AGAIN: Stage.MEASURE,
        Stage.JUDGE: Stage.KEEP,
        Stage.KEEP: Stage.KEPT,
        Stage.RETURN: Stage.RETURNED,
    }
)
_WISHES: Final[Mapping[Stage, Wish]] = MappingProxyType(
    {
        **dict.fromkeys(Stage, Wish.BACK),
        Stage.BEGIN: Wish.OLD,
        Stage.BASELINE: Wish.OLD,
        Stage.START_BESIDE: Wish.BESIDE,
        Stage.COMPARE: Wish.BESIDE,
        Stage.SWAP: Wish.NEW,
        Stage.READY: Wish.NEW,
        Stage.SETTLE: Wish.NEW,
        Stage.ACCEPT: Wish.NEW,
        Stage.MEASURE: Wish.NEW,
        Stage.DRAIN_BACK: Wish.NEW,
        Stage.SWAP_BACK: Wish.OLD,
        Stage.READY_BACK: Wish.OLD,
        Stage.REPEAT: Wish.OLD,
        Stage.DRAIN_AGAIN: Wish.OLD,
        Stage.SWAP_AGAIN: Wish.NEW,
        Stage.READY_AGAIN: Wish.NEW,
        Stage.JUDGE: Wish.NEW,
        Stage.KEEP: Wish.KEEP,
        Stage.KEPT: Wish.KEEP,
    }
)


@dataclass(frozen=True, slots=True)
class Course:
    """Stage of an upgrade. ``rounds`` is how often the old one is still to be measured again.

    ``beside``: both can run at once, and are measured by pairs.
    """

    stage: Stage = Stage.BEGIN
    beside: bool = False
    rounds: int = 0

    @property
    def wish(self) -> Wish:
        """Wish for the containers meanwhile."""
        if self.stage is Stage.DRAIN:
            return Wish.BESIDE if self.beside else Wish.OLD
        return _WISHES[self.stage]

    def after(self, *, well: bool) -> Course:
        """Return the course after its stage has ended, well or not."""
        if self.stage.final:
            return self
        if not well:
            over = self.stage in (Stage.KEEP, Stage.RETURN)
            return replace(self, stage=Stage.RETURNED if over else Stage.RETURN)
        if self.stage is Stage.BEGIN and self.beside:
            return replace(self, stage=Stage.START_BESIDE)
        if self.stage is Stage.ACCEPT and self.beside:
            return replace(self, stage=Stage.JUDGE)
        if self.stage is Stage.MEASURE and self.rounds:
            return replace(self, stage=Stage.DRAIN_BACK, rounds=self.rounds - 1)
        return replace(self, stage=_NEXT[self.stage])
