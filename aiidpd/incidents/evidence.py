"""Evidence: a component's part of every incident; the recorder knows no component (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from aiidpd.incidents.ring_buffer import RingBuffers, Window
from aiidpd.incidents.series import Series


class Moment(StrEnum):
    """A moment at which documents are requested."""

    BEGINNING = "beginning"
    END = "end"


class Evidence(Protocol):
    """A component's part of every incident. Called by the recorder on the event loop: nothing here blocks.

    To be derived from: whoever has only documents, or only rings, leaves the rest as it is here.
    """

    @property
    def rings(self) -> RingBuffers | None:
        """Rows that an incident copies when it begins and follows to its end; None for no rows."""
        return None

    def documents(self, moment: Moment) -> Mapping[str, Any]:
        """Return JSON documents by their keys in the incident, as they are at ``moment``.

        Those of the end replace those of the beginning that have their key. A document has in its
        ``reason`` why something is not known.
        """
        del moment
        return {}

    def at_trigger(self) -> Mapping[str, Any]:
        """Return JSON documents that an incident gets with a trigger, its first one and every later one.

        They replace those that have their key. Where there are any, the incident is written at each trigger.
        """
        return {}

    def texts(self) -> Mapping[str, str]:
        """Return files of text, by their names in the incident's folder, that come with a trigger too."""
        return {}

    def summary(self, window: Window) -> tuple[Mapping[str, Any], Sequence[Series]]:
        """Return the documents about the rows in ``window``, and the files that hold them.

        A list of entries with a ``file`` each is shown with the rows of those files. Requested whenever the
        incident is written.
        """
        del window
        return {}, ()
