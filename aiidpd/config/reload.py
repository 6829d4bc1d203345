"""Changes that a new configuration makes in a running daemon."""

from __future__ import annotations

from dataclasses import dataclass

from aiidpd.config.fields import Effect
from aiidpd.config.schema import Schema, Settings, dotted, value_at
from aiidpd.kernel.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """Steps after which the new settings hold.

    ``changed`` is every key that differs (a changed secret too); the tasks that read one of ``tables`` are
    replaced; those in ``in_place`` are handed to whoever reads them; those in ``needs_restart`` are read at
    the start only.
    """

    changed: tuple[str, ...]
    tables: frozenset[str]
    in_place: tuple[str, ...]
    needs_restart: tuple[str, ...]

    def refuse_partial(self) -> None:
        """Raise :class:`Misconfigured` where a restart is needed: a reload does all or nothing."""
        if self.needs_restart:
            names = ", ".join(self.needs_restart)
            raise Misconfigured(
                "reload",
                "the configuration",
                reason=f"{names} changed, which takes effect at a start only",
                remedy="nothing was changed; restart the service, or take the change back",
            )


def reload_plan(schema: Schema, old: Settings, new: Settings) -> ReloadPlan:
    """Return what differs between ``old`` and ``new``, by how it takes effect."""
    changed: list[str] = []
    replaced: set[str] = set()
    in_place: list[str] = []
    needs_restart: list[str] = []
    for key in schema.keys:
        if value_at(old, key) == value_at(new, key):
            continue
        changed.append(dotted(key))
        match schema.effect(key):
            case Effect.TASKS:
                replaced.add(str(key[0]))
            case Effect.LIVE:
                in_place.append(dotted(key))
            case Effect.RESTART:
                needs_restart.append(dotted(key))
    return ReloadPlan(tuple(changed), frozenset(replaced), tuple(in_place), tuple(needs_restart))
