"""Events and conditions of trials of images."""

from __future__ import annotations

from typing import Final

from aiidpd.components.containers.trial.decide import Act
from aiidpd.components.containers.trial.state import ImageTrial
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity
from aiidpd.kernel.publisher import Publisher

BEGAN: Final = "container.upgrade_began"
RETURNED: Final = "container.upgrade_returned"
KEPT: Final = "container.upgrade_kept"
NOT_RETURNED: Final = "container_upgrade_not_returned"
UNREADABLE: Final = "container_upgrade_state"
_SOURCE: Final = "containers.trials"


class TrialPublisher:
    """Publishes what happens to trials, and sets their conditions."""

    def __init__(self, publish: Publisher, conditions: Conditions) -> None:
        self._publish = publish
        self._conditions = conditions

    def began(self, entry: ImageTrial) -> None:
        """Report that the image is about to be tried."""
        self._publish.event(
            BEGAN,
            f"{entry.image} is tried in its place; it comes back unless that is kept",
            about=entry.name,
            trial=entry.trial,
            image=entry.image,
            image_id=entry.new_image,
            old_image_id=entry.old_image,
        )

    def ended(self, entry: ImageTrial, act: Act, problem: str) -> None:
        """Report how a trial has ended."""
        kept = act is Act.KEPT
        reason = {
            Act.KEPT: f"{entry.image} has its place for good; its former image stays here",
            Act.RETURNED: "the old container has its place again",
            Act.REPLACED: "another container has its name by now, and was left alone",
            Act.GONE: "somebody has removed the old container meanwhile",
        }[act]
        if act is Act.RETURNED and entry.barred:
            reason = f"the old container has its name, and is down by an emergency: docker start {entry.name}"
        more = "; ".join(each for each in (entry.reason, problem) if each)
        self._publish.event(
            KEPT if kept else RETURNED,
            f"{reason}{f' ({more})' if more else ''}",
            about=entry.name,
            severity=Severity.INFO if act in (Act.KEPT, Act.RETURNED) else Severity.WARNING,
            trial=entry.trial,
            image=entry.image,
            image_id=entry.new_image,
            old_image_id=entry.old_image,
        )
        self.serves(entry)

    def not_returned(self, entry: ImageTrial, problem: str) -> None:
        """Set the condition of a container that is without its engine."""
        self._conditions.set(
            Condition(
                NOT_RETURNED,
                entry.name,
                Severity.ERROR,
                f"the trial of {entry.image} has ended and the old container does not serve yet: {problem}",
                f"it is tried again; by hand: docker start {entry.name}, or {entry.old_name}",
                source=_SOURCE,
            )
        )

    def serves(self, entry: ImageTrial) -> None:
        """Clear the condition of a container that serves again, or that is no more to be brought back."""
        self._conditions.clear(NOT_RETURNED, entry.name)

    def switched_off(self) -> None:
        """Clear the conditions: no container is watched any more."""
        self._conditions.update((NOT_RETURNED, UNREADABLE), (), announce=False)

    def file_failed(self, name: str, problem: str) -> None:
        """Set the condition of a journal that can't be used."""
        self._conditions.set(
            Condition(UNREADABLE, name, Severity.ERROR, problem, "see the file", source=_SOURCE)
        )

    def file_works(self, name: str) -> None:
        """Clear that condition."""
        self._conditions.clear(UNREADABLE, name)
