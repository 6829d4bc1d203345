"""Judgement of an act on a container, by what the engine says of it at that moment."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from aiidpd.gate.engine import EngineFailed, Fetch
from aiidpd.gate.message import segment, target_of
from aiidpd.gate.permission import Subject, is_permitted, subject_of
from aiidpd.gate.recreation import (
    BESIDE,
    NEW,
    Place,
    copy_refusal,
    place_of,
    removal_refusal,
    rename_refusal,
)
from aiidpd.gate.rules import COPY, IMAGE, PULL, REMOVE, RENAME, STEPS, Matched
from aiidpd.gate.settings import RECREATE, UPGRADE, Rule

_OK: Final = 200
_NOT_FOUND: Final = 404
_ENDING: Final = ("stop", "kill", REMOVE)
_STARTING: Final = ("start", "restart", "unpause")
_LABELS: Final = {RECREATE: "aiidpd.heal=recreate", UPGRADE: "aiidpd.upgrade=allow"}


class Judgement:
    """Asks the engine by ``fetch``; ``rules`` are those of the configuration at ``path``."""

    def __init__(self, fetch: Fetch, rules: tuple[Rule, ...], path: str) -> None:
        self._fetch = fetch
        self._rules = rules
        self._path = path

    def subject(self, container: str) -> tuple[Subject | None, Any]:
        """Return the container that is named, None where there is none, and its description.

        Id and labels are the engine's own: a name may lead elsewhere a moment later, an id can't.
        Raises EngineFailed.
        """
        status, document = self._fetch("GET", f"/containers/{segment(container)}/json", None)
        subject = subject_of(document) if status == _OK else None
        if subject is None and status != _NOT_FOUND:
            raise EngineFailed(502, f"the engine does not describe the container (status {status})")
        return subject, document

    def refusal(self, matched: Matched, subject: Subject) -> str:
        """Return why the act is not let through, an empty text where it is. Raises EngineFailed."""
        verb, name, place = matched.verb, subject.name, place_of(subject.name)
        if place.kind == BESIDE and verb in _ENDING:
            return ""  # what is called so is there for a trial alone, whose end needs nobody's leave
        acts = STEPS.get(verb, (verb,))
        asked = self._holders(place) if place.kind == BESIDE else (subject,)
        if not any(is_permitted(each, act, self._rules) for each in asked for act in acts):
            labels = ", ".join(_LABELS.get(act, "aiidpd.heal, aiidpd.upgrade") for act in acts)
            return f"to {' or '.join(acts)} {name} neither a label of it ({labels}) nor {self._path} allows"
        return self._misplaced(matched, subject)

    def _misplaced(self, matched: Matched, subject: Subject) -> str:
        """Return why a step does not fit to the names that there are, an empty text where it does."""
        verb, name = matched.verb, subject.name
        if verb == RENAME:
            return rename_refusal(name, matched.name)
        if verb == REMOVE:
            return removal_refusal(name, self._related(subject))
        if verb in (IMAGE, PULL) and (place_of(name).kind or not matched.image):
            return "an image is to be named, and the container in whose place it is tried"
        if verb == COPY or matched.name:
            kinds = (NEW,) if verb == COPY else (NEW, BESIDE)
            return copy_refusal(name, matched.name, self._related(subject), kinds)
        return ""

    def _holders(self, place: Place) -> tuple[Subject, ...]:
        """Return the containers that have the place, or had it, in the trial of the one beside it."""
        found = ((name, self.subject(name)[0]) for name in (place.base, place.old_name))
        return tuple(each for name, each in found if each is not None and each.name == name)

    def _related(self, subject: Subject) -> tuple[str, ...]:
        """Return the names of the other containers whose names have that of this one's place in them."""
        filters = json.dumps({"name": [re.escape(place_of(subject.name).base)]})
        target = target_of("/containers/json", (("all", "1"), ("filters", filters)))
        status, document = self._fetch("GET", target, None)
        if status != _OK or not isinstance(document, list):
            raise EngineFailed(502, f"the engine does not list its containers (status {status})")
        others = [each for each in document if isinstance(each, dict) and each.get("Id") != subject.identity]
        return tuple(str(name).removeprefix("/") for each in others for name in each.get("Names") or ())


def key_of(matched: Matched, subject: Subject) -> str:
    """Return the key of an act of which one goes on at a time, an empty text for one that waits for none.

    Steps between the containers of one name are such: two that are judged at once would take away both. So
    is the start of one that may just be made: it does not run before its image was compared.
    """
    place = place_of(subject.name)
    if matched.verb == PULL:
        return f"{PULL} {place.base}"
    one = matched.verb in STEPS or (place.kind and matched.verb in _STARTING)
    return f"step {place.base}" if one else ""
