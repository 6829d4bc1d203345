"""Trial of another image in the place of a container: the wish for it, and the view of it (pure).

Whoever conducts a trial sends its present wish again and again; the component of the containers makes it so.
A wish that was not repeated within its hold is one to go back: whoever conducted the trial is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from aiidpd.kernel.messages import Message
from aiidpd.kernel.views import View


class Wish(StrEnum):
    """State that a trial is to have."""

    PLAN = "plan"
    """Only what would be done is found out; nothing is touched."""

    OLD = "old"
    """The old container serves; the image is present."""

    BESIDE = "beside"
    """The old container serves, and one of the new image beside it, on ports of its own."""

    NEW = "new"
    """A container of the new image serves in the place of the old one, which waits."""

    KEEP = "keep"
    """The new one stays for good: the old container is removed, and its image is not."""

    BACK = "back"
    """The old container serves for good, and nothing is left of the new one but its image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTrialRequested(Message):
    """Wish for the trial ``trial`` of ``image`` in the place of the container called ``container``.

    ``image`` is a name or an id. It holds for ``hold_seconds`` after it was sent.
    """

    trial: str
    container: str
    image: str
    wish: Wish
    hold_seconds: float


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image: the name by which it is called, its id (empty where it is not here), its digests."""

    reference: str
    id: str = ""
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """Plan of a trial. ``refusal`` is why it can't be tried, empty where it can; ``remedy`` what to do then.

    ``beside_refusal`` is why there is no way to have both at once. ``same``: both images are one.
    """

    old_image: ImageFacts
    new_image: ImageFacts
    refusal: str = ""
    remedy: str = ""
    beside_refusal: str = ""
    same: bool = False
    gpu: bool = False
    host_network: bool = False
    stop_grace: float = 0.0
    """Seconds that a container has to end, before it is killed."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TriedContainer:
    """Container of the new image. ``log`` are its newest lines, without secrets, where it has ended.

    ``addresses`` are where its TCP ports are reached, by the port inside of it.
    """

    id: str = ""
    running: bool = False
    health: str | None = None
    started_at: str = ""
    """Run of it, as the runtime distinguishes it."""
    addresses: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    exit_code: int | None = None
    out_of_memory: bool = False
    log: tuple[str, ...] = ()


Serving = Literal["", "old", "new"]
TrialEnd = Literal["", "kept", "returned", "gone", "replaced"]


@dataclass(frozen=True, slots=True)
class ImageTrialState:
    """State of one trial. ``serving`` is which of the two runs under the name, empty for none just now.

    ``wish`` is the one that was last carried out in full, None while none was. ``ended`` is how it ended,
    empty while it goes on: ``gone`` is for a container that somebody removed, ``replaced`` for one whose name
    somebody gave to another. ``problem`` is what stands in the way now, or stood; ``disturbed`` why the trial
    goes back by itself. ``stopped_seconds`` is how long nobody served, all in all.
    """

    trial: str
    container: str
    image: str
    wish: Wish | None = None
    plan: TrialPlan | None = None
    progress: str = ""
    serving: Serving = ""
    old_id: str = ""
    new: TriedContainer = TriedContainer()
    ended: TrialEnd = ""
    problem: str = ""
    disturbed: str = ""
    differences: tuple[str, ...] = ()
    """Fields in which the description of the new container is not as that of the old one."""
    old_log: tuple[str, ...] = ()
    """Newest lines of the old one when it was stopped, without secrets."""
    stopped_seconds: float = 0.0
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class ImageTrialsView:
    """Trials that go on, and the newest that have ended. ``problem`` is why none can be begun now."""

    trials: tuple[ImageTrialState, ...] = ()
    problem: str = ""

    def trial(self, identity: str) -> ImageTrialState | None:
        """Return the trial ``identity``, None where it is not known (yet)."""
        return next((each for each in self.trials if each.trial == identity), None)

    @property
    def containers(self) -> frozenset[str]:
        """Names of the containers in whose place another image is tried now."""
        return frozenset(each.container for each in self.trials if not each.ended and each.serving)


IMAGE_TRIALS: Final[View[ImageTrialsView]] = View("image_trials")
