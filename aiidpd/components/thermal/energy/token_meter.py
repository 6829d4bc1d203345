"""Lays energy on generated tokens: by the engine's own counter where it tells that, else by our probes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from aiidpd.components.thermal.energy.engine_tokens import LONGEST_GAP, TokenCount, TokenWindow
from aiidpd.components.thermal.energy.per_token import Generation, TokenEnergy, per_token
from aiidpd.components.thermal.energy.series import CumulativeSeries

_ASK_EVERY: Final = 5.0  # seconds
_MOST_SOURCES: Final = 64


class TokenMeter:
    """Follows the GPUs' energy and the tokens; ``generations`` are those of probes, ``counts`` of engines."""

    def __init__(
        self, generations: Callable[[], Iterable[Generation]], counts: Callable[[], Iterable[TokenCount]]
    ) -> None:
        self._generations = generations
        self._counts = counts
        self._trace = CumulativeSeries()
        self._windows: dict[str, TokenWindow] = {}
        self._probed: dict[str, TokenEnergy] = {}
        self._asked = -math.inf
        self._accuracy = 0.0
        self._simulated = False

    def figures(self) -> tuple[TokenEnergy, ...]:
        """Return one figure an endpoint, for those that have one."""
        found = dict(self._probed)
        for source, window in self._windows.items():
            figure = window.figure(self._accuracy)
            if figure is not None:
                simulated = figure.generation.simulated or self._simulated
                found[source] = replace(figure, generation=replace(figure.generation, simulated=simulated))
        return tuple(found[source] for source in sorted(found))

    def observe(self, joules: float, at: float, now: float, *, accuracy: float, simulated: bool) -> None:
        """Take what all GPUs took up to ``at`` (Unix seconds), since the last call.

        ``now`` is in monotonic seconds; ``accuracy`` is how far off the energy itself may be.
        """
        self._accuracy, self._simulated = accuracy, simulated
        if not self._trace.add(at, joules):
            self._windows.clear()
        for count in self._counts():
            self._count(count)
        for source in [
            each for each, window in self._windows.items() if at - (window.newest or 0) > LONGEST_GAP
        ]:
            del self._windows[source]
        if now - self._asked >= _ASK_EVERY:
            self._asked = now
            self._ask()

    def interrupt(self) -> None:
        """Forget what goes on: for a while the energy was not known. What was told of a probe stays true."""
        self._trace.clear()
        self._windows.clear()

    def begin_anew(self) -> None:
        """Forget everything."""
        self.interrupt()
        self._probed.clear()

    def _count(self, count: TokenCount) -> None:
        window = self._windows.get(count.source)
        if window is not None and window.newest == count.at:
            return
        found = self._trace.at(count.at)
        if found is None:
            return
        if window is None:
            if len(self._windows) >= _MOST_SOURCES:
                return
            window = self._windows[count.source] = TokenWindow()
        window.take(count, *found)

    def _ask(self) -> None:
        for generation in self._generations():
            known = self._probed.get(generation.source)
            if known is not None and known.generation.ended_at >= generation.ended_at:
                continue
            marked = replace(generation, simulated=generation.simulated or self._simulated)
            found = per_token(marked, self._trace, self._accuracy)
            if found is not None and (known is not None or len(self._probed) < _MOST_SOURCES):
                self._probed[generation.source] = found
