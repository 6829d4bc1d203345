"""Operations of the gate's own on a container: a copy of it, one of another image, the pull of that image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiidpd.gate.copies import Copied, make_copy
from aiidpd.gate.engine import Fetch
from aiidpd.gate.images import choose, fetch_target, make_tried
from aiidpd.gate.permission import Subject, is_permitted, patterns_for
from aiidpd.gate.rules import COPY, PULL, Matched
from aiidpd.gate.settings import UPGRADE, Rule

_NOTHING: Final = Copied(status=204)
_NO_REGISTRY: Final = Copied(status=403, reason="no registry knows an image by its id")


class Done(NamedTuple):
    """End of an operation, or the ``query`` by which the engine is to fetch an image now."""

    made: Copied = _NOTHING
    query: tuple[tuple[str, str], ...] = ()


def operate(
    fetch: Fetch, matched: Matched, subject: Subject, document: Mapping[str, Any], rules: tuple[Rule, ...]
) -> Done:
    """Carry out an operation on the container of ``document``, which was permitted.

    Raises KeyError, TypeError, ValueError and AttributeError for an odd description.
    """
    if matched.verb == COPY:
        return Done(make_copy(fetch, document, matched.name))
    choice = choose(fetch, document, matched.image, patterns_for(subject, rules))
    if choice.status:
        return Done(Copied(status=choice.status, reason=choice.reason))
    if matched.verb == PULL:
        query = fetch_target(matched.image)
        return Done(_NO_REGISTRY) if query is None else Done(query=query)
    if not matched.name:
        return Done()

    def permitted(labels: Mapping[str, str]) -> bool:
        return is_permitted(Subject("", subject.name, labels), UPGRADE, rules)

    return Done(make_tried(fetch, document, choice, matched.name, permitted))
