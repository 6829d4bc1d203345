"""Evidence of heals for incidents: what each was about to destroy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aiidpd.incidents.evidence import Evidence, Moment
from aiidpd.incidents.incident import Trigger

NAME: Final = "heals"
HEAL_EVIDENCE: Final = "container.heal_evidence"
TRIGGERS: Final = (Trigger(HEAL_EVIDENCE),)
"""Event by which a heal begins an incident, or prolongs one."""


class HealEvidence(Evidence):
    """Gives what was collected for a heal with the event that begins it.

    An incident in progress gets the evidence of each heal, in the order of their beginnings.
    """

    def __init__(self) -> None:
        self._entries: list[Mapping[str, Any]] = []
        self._files: set[str] = set()
        self._now: Mapping[str, Any] | None = None
        self._texts: Mapping[str, str] = {}

    @contextmanager
    def beginning(self, entry: Mapping[str, Any], texts: Mapping[str, str]) -> Iterator[None]:
        """Have the event that is published meanwhile bring ``entry``, and ``texts`` by their file names."""
        self._now, self._texts = entry, texts
        try:
            yield
        finally:
            self._now, self._texts = None, {}

    def taken(self, file: str) -> bool:
        """Return whether the incident in progress has a file of that name."""
        return file in self._files

    def documents(self, moment: Moment) -> Mapping[str, Any]:
        """Return nothing: an incident has the heals that begin while it is in progress."""
        if moment is Moment.BEGINNING:
            self._entries.clear()
            self._files.clear()
        return {}

    def at_trigger(self) -> Mapping[str, Any]:
        """Return every heal so far, where one begins just now."""
        if self._now is None:
            return {}
        self._entries.append(self._now)
        self._files.update(self._texts)
        return {NAME: list(self._entries)}

    def texts(self) -> Mapping[str, str]:
        """Return the files of the heal that begins just now."""
        return self._texts
