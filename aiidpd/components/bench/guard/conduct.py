"""Conducts a trial of an image: repeats the present wish, and waits until it is so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiidpd.contracts.trials import ImageTrialRequested, ImageTrialState, ImageTrialsView, TrialPlan, Wish
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.inbox import Messages

HOLD: Final = 30.0
"""Seconds for which a wish holds: so long after whoever conducts a trial is gone, it goes back."""
REPEAT: Final = 5.0
POLL: Final = 0.2
_PLAN_WITHIN: Final = 60.0
_BACK_WITHIN: Final = 120.0


class Failed(Exception):
    """End of a stage that was not well, with the reason; ``clear`` is false where too little is known."""

    def __init__(self, reason: str, *, remedy: str = "", clear: bool = True) -> None:
        self.reason = reason
        self.remedy = remedy
        self.clear = clear
        super().__init__(reason)


class Conductor:
    """Conducts the trial ``trial`` of ``image`` in the place of ``container``."""

    def __init__(
        self,
        messages: Messages,
        view: Callable[[], ImageTrialsView | None],
        clock: Clock,
        *,
        trial: str,
        container: str,
        image: str,
    ) -> None:
        self._messages = messages
        self._view = view
        self._clock = clock
        self._trial = trial
        self._container = container
        self._image = image
        self._wish = Wish.PLAN

    @property
    def state(self) -> ImageTrialState:
        """State of the trial as it now is."""
        view = self._view()
        found = None if view is None else view.trial(self._trial)
        return found or ImageTrialState(self._trial, self._container, self._image)

    def wish(self, wish: Wish) -> None:
        """Send ``wish``; it is repeated by :meth:`repeat` from now on."""
        self._wish = wish
        sent = ImageTrialRequested(
            reason=f"an upgrade under guard wishes: {wish.value}",
            trial=self._trial,
            container=self._container,
            image=self._image,
            wish=wish,
            hold_seconds=HOLD,
        )
        if not self._messages.send(sent):
            raise Unavailable("try", self._image[:200], reason="nobody here watches containers")

    async def repeat(self) -> None:
        """Repeat the present wish until cancelled."""
        while True:
            await self._clock.sleep(REPEAT)
            self.wish(self._wish)

    async def plan(self) -> TrialPlan:
        """Return the plan of the trial; raises ``Unavailable``."""
        self.wish(Wish.PLAN)
        until = self._clock.monotonic() + _PLAN_WITHIN
        while self._clock.monotonic() < until:
            if (found := self.state.plan) is not None:
                return found
            view = self._view()
            if view is not None and view.problem:
                raise Unavailable("try", self._image[:200], reason=view.problem)
            await self._clock.sleep(POLL)
        raise Unavailable(
            "try",
            self._image[:200],
            reason=f"the containers were not read within {_PLAN_WITHIN:g} s",
            remedy="see `aiidpctl status`",
        )

    async def reach(self, wish: Wish, progress: Callable[[str], None], within: float) -> ImageTrialState:
        """Return the state once ``wish`` is carried out; raises :class:`Failed`."""
        self.wish(wish)
        until = self._clock.monotonic() + within
        while True:
            state = self.state
            if state.wish is wish and not state.disturbed and not (state.plan and state.plan.refusal):
                return state
            self.check(state)
            if self._clock.monotonic() >= until:
                raise Failed(f"it was not done within {within:g} s: {state.problem or 'no reason is known'}")
            progress(state.progress or state.problem)
            await self._clock.sleep(POLL)

    def check(self, state: ImageTrialState | None = None) -> None:
        """Raise :class:`Failed` where the trial has ended, or goes back by itself."""
        state = state or self.state
        if state.plan is not None and state.plan.refusal:
            raise Failed(state.plan.refusal, remedy=state.plan.remedy)
        if state.disturbed or state.ended:
            raise Failed(_why(state))

    async def back(self) -> ImageTrialState:
        """Have the old container serve for good; return the state, once it is so or takes too long."""
        return await self._ended(Wish.BACK)

    async def keep(self) -> ImageTrialState:
        """Have the new one stay for good; return the state, once it is so or takes too long."""
        return await self._ended(Wish.KEEP)

    async def _ended(self, wish: Wish) -> ImageTrialState:
        self.wish(wish)
        until = self._clock.monotonic() + _BACK_WITHIN
        while not self.state.ended and self._clock.monotonic() < until:
            if self.state.plan is not None and self.state.plan.refusal:
                break  # nothing was begun
            await self._clock.sleep(POLL)
        return self.state


def _why(state: ImageTrialState) -> str:
    parts = [state.disturbed or state.problem or "the trial has ended"]
    new = state.new
    if new.out_of_memory:
        parts.append("out of memory")
    elif new.exit_code is not None and not new.running and new.id:
        parts.append(f"exit code {new.exit_code}")
    return ", ".join(parts)
