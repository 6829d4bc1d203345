"""Single acts of a trial, on the runtime; and all of its containers as they are now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiidpd.components.containers.actions import LogTail, Refused
from aiidpd.components.containers.recreate.described import Description, name_of
from aiidpd.components.containers.recreate.gather import gather
from aiidpd.components.containers.recreate.plan import Plan
from aiidpd.components.containers.recreate.state import place_of
from aiidpd.components.containers.trial.body import beside, body_with
from aiidpd.components.containers.trial.book import ImageActions
from aiidpd.components.containers.trial.decide import Act
from aiidpd.components.containers.trial.differences import not_as_planned
from aiidpd.components.containers.trial.state import ImageTrial, Situation
from aiidpd.contracts.trials import TriedContainer
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.redaction import Redactor

_LINES: Final = 60
_LONGEST_LINE: Final = 400  # characters
_ANY: Final = ("0.0.0.0", "::", "")  # noqa: S104 -- as the runtime has them


@dataclass(frozen=True, slots=True)
class Seen:
    """All containers of a trial: as descriptions, and as a decision needs them."""

    situation: Situation
    old: Description | None
    new: Description | None
    beside: Description | None

    @property
    def tried(self) -> Description | None:
        """Container of the new image that runs, or may: the one beside, while there is one."""
        return self.beside or self.new


async def see(actions: ImageActions, entry: ImageTrial) -> Seen:
    """Return all containers of a trial. Raises ``Unavailable``."""
    old = await actions.describe(entry.old)
    new = await actions.describe(entry.new or entry.new_name)
    second = await actions.describe(entry.beside or entry.beside_name)
    holder = await actions.describe(entry.name)
    ours = (entry.old, *(str(each["Id"]) for each in (new, second) if each is not None))
    taken = holder is not None and name_of(holder) == entry.name and str(holder["Id"]) not in ours
    found = Situation(place_of(old), place_of(new), place_of(second), taken)
    return Seen(found, old, new, second)


async def act_on(actions: ImageActions, act: Act, entry: ImageTrial, seen: Seen) -> None:
    """Carry out one act that the runtime is called for. Raises ``Unavailable``."""
    new = entry.new or _id(seen.new)
    second = entry.beside or _id(seen.beside)
    calls: Mapping[Act, Callable[[], Awaitable[object]]] = {
        Act.STOP_OLD: lambda: actions.stop(entry.old, entry.grace),
        Act.RENAME_OLD: lambda: actions.rename(entry.old, entry.old_name),
        Act.NAME_OLD: lambda: actions.rename(entry.old, entry.name),
        Act.START_OLD: lambda: actions.start(entry.old),
        Act.REMOVE_OLD: lambda: actions.remove(entry.old),
        Act.STOP_NEW: lambda: actions.stop(new, entry.grace),
        Act.RENAME_NEW: lambda: actions.rename(new, entry.new_name),
        Act.NAME_NEW: lambda: actions.rename(new, entry.name),
        Act.START_NEW: lambda: actions.start(new),
        Act.REMOVE_NEW: lambda: actions.remove(new),
        Act.START_BESIDE: lambda: actions.start(second),
        Act.STOP_BESIDE: lambda: actions.stop(second, entry.grace),
        Act.REMOVE_BESIDE: lambda: actions.remove(second),
    }
    await calls[act]()


async def create(
    actions: ImageActions, entry: ImageTrial, successors: Mapping[str, str], *, apart: bool
) -> str:
    """Create the container of the new image, or the one beside (``apart``); return its id.

    Raises ``Unavailable``, and ``Refused`` where it would not be the same otherwise; then it was removed.
    """
    facts = await gather(actions, entry.old, successors)
    if facts is None or facts.image is None:
        raise _refused(entry, "the old container or its image is gone")
    plan = body_with(facts.container, facts.image, entry.image, successors=successors)
    plan = beside(plan) if apart else plan
    name = entry.beside_name if apart else entry.new_name
    left = await actions.describe(name)
    if left is not None and name_of(left) == name:
        await actions.remove(str(left["Id"]))  # its creation was called for, and nobody has waited for it
    identity = await actions.create(name, plan.body, image=entry.image)
    try:
        await _connect(actions, identity, plan)
        new = await actions.describe(identity)
        problem = _wrong(entry, facts.container, new, plan, apart=apart)
    except Refused as error:
        problem = error.reason
    if problem:
        await actions.remove(identity)
        raise _refused(entry, problem)
    return identity


async def _connect(actions: ImageActions, identity: str, plan: Plan) -> None:
    if plan.disconnect:
        await actions.disconnect(plan.disconnect, identity)
    for connection in plan.connections:
        await actions.connect(connection.network, identity, connection.endpoint)


def _wrong(entry: ImageTrial, old: Description, new: Description | None, plan: Plan, *, apart: bool) -> str:
    if new is None:
        return "somebody has removed it at once"
    if str(new["Image"]) != entry.new_image:
        return f"{entry.image:.200} leads to another image by now"
    found = not_as_planned(old, new, plan)
    if apart:
        found = tuple(each for each in found if not each.startswith("NetworkSettings"))
    return f"it would differ in {', '.join(found[:5])}" if found else ""


def _refused(entry: ImageTrial, reason: str) -> Refused:
    return Refused("try", entry.image[:200], reason=reason)


def tried(description: Description | None, log: tuple[str, ...] = ()) -> TriedContainer:
    """Return what others may know of the container of the new image."""
    if description is None:
        return TriedContainer()
    state = description["State"]
    running = str(state.get("Status")) == "running"
    health = (state.get("Health") or {}).get("Status")
    return TriedContainer(
        str(description["Id"]),
        running,
        str(health) if health and health != "none" else None,
        str(state.get("StartedAt") or ""),
        _addresses(description),
        None if running else state.get("ExitCode"),
        bool(state.get("OOMKilled")),
        log,
    )


def _addresses(description: Description) -> dict[int, str]:
    found: dict[int, str] = {}
    ports = (description.get("NetworkSettings") or {}).get("Ports") or {}
    for port, bindings in ports.items():
        number, _, protocol = str(port).partition("/")
        if protocol == "tcp" and number.isdigit() and bindings:
            host = str(bindings[0].get("HostIp") or "")
            found[int(number)] = f"{'127.0.0.1' if host in _ANY else host}:{bindings[0].get('HostPort')}"
    return found


async def log_of(actions: ImageActions, description: Description | None) -> tuple[str, ...]:
    """Return the newest lines of a container's log, without secrets; none where they can't be read."""
    if description is None:
        return ()
    tail: LogTail | None = None
    with suppress(Unavailable):
        tail = await actions.logs(str(description["Id"]), lines=_LINES)
    if tail is None:
        return ()
    config: Mapping[str, Any] = description["Config"]
    environment = dict(str(each).partition("=")[::2] for each in config.get("Env") or ())
    arguments = [str(each) for each in (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))]
    redactor = Redactor.of(environment, arguments)
    lines = (line.decode(errors="replace")[:_LONGEST_LINE] for line in tail.lines)
    return tuple(redactor.lines(lines))


def _id(found: Description | None) -> str:
    return "" if found is None else str(found["Id"])
