"""Share of time that scheduled measurements may take from GPUs (pure).

Each measurement is followed by a pause in which its own time makes up no more than the share. So between the
beginnings of any two of them on one GPU, the time of those in between is at most that share of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ANY: str = ""
"""Place of what is measured where it is not known on which GPU: such measurements share one budget."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Monotonic second from which each place, a GPU, may be measured on by schedule again."""

    ready: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def ready_at(self, places: Collection[str]) -> float:
        """Return the monotonic second from which ``places`` may be used together."""
        return max((self.ready.get(each, 0.0) for each in places or (ANY,)), default=0.0)


def charged(budget: Budget, places: Collection[str], began: float, seconds: float, ratio: float) -> Budget:
    """Return the budget after ``places`` were busy for ``seconds`` with a measurement that ``began``.

    ``ratio`` is the share of their time that is allowed.
    """
    until = began + seconds / ratio
    ready = {each: max(until, budget.ready.get(each, 0.0)) for each in places or (ANY,)}
    return Budget(MappingProxyType({**budget.ready, **ready}))
