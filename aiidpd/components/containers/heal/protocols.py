"""Protocols of what a heal needs of its neighbours: evidence before it, and re-creation (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.kernel.events import Scalar


@dataclass(frozen=True, slots=True)
class HealSubject:
    """Container that is about to be healed, its fault and why that is one.

    ``fault`` is a type of condition, such as ``container_unhealthy`` or ``engine_hung``.
    """

    container: ContainerReading
    fault: str
    reason: str
    simulated: bool


class EvidenceCollector(Protocol):
    """Collects what a heal would destroy, and has it on the disk before the heal begins."""

    async def collect(self, subject: HealSubject, evidence: Mapping[str, Scalar]) -> str:
        """Write an incident about ``subject``; return its id, or an empty text where none could be written.

        Bounded in time and size; raises nothing of the runtime's: what could not be read is named in the
        incident.
        """


@dataclass(frozen=True, slots=True)
class Recreated:
    """A container in the place of another. ``way`` is ``compose`` or ``inspect``.

    ``notes`` is what is worth telling of it: why not by compose, what compose has changed.
    """

    identity: str
    way: str
    notes: str = ""


@dataclass(frozen=True, slots=True)
class NotRecreated:
    """Reason why a container can't be created anew faithfully; it was left as it is, or put back."""

    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Recovered:
    """End of a re-creation that an earlier process, or an engine that was away, has left unfinished.

    ``recreated``: the new container has the place; else the old one has it, or there is ``problem``.
    ``pending``: it is still unfinished, because of ``problem``.
    """

    name: str
    identity: str
    recreated: bool
    problem: str = ""
    pending: bool = False

    @property
    def words(self) -> str:
        """Sentence about it."""
        place = "the new container has its place" if self.recreated else "the old one has its place"
        return f"its re-creation was cut short: {self.problem or place}"


class Recreator(Protocol):
    """Puts a new container, created as the old one was, in its place."""

    @property
    def pending(self) -> bool:
        """True while something is left for :meth:`recover`."""

    async def check(self, identity: str) -> NotRecreated | None:
        """Return why a container can't be created anew, None where it can; changes nothing."""

    async def recreate(self, identity: str, *, grace: float) -> Recreated | NotRecreated:
        """Create a container anew; the old one ends within ``grace`` seconds, or is killed.

        Whatever happens, one of the two is there under the name, and runs if it did before, as soon as the
        runtime answers. Raises ``Unavailable`` where that has to wait for it, and for :meth:`recover`.
        """

    async def recover(self) -> tuple[Recovered, ...]:
        """Finish or undo whatever is left unfinished; return what became of it.

        Raises ``StateUnreadable`` where that is not known any more.
        """

    async def aclose(self) -> None:
        """Release what it holds; may be called twice."""
