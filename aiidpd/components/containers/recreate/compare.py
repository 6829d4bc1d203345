"""Comparison of a copy with the container that it was made from, field by field (pure).

All of configuration, limits, mounts and networks has to be the same, but for what the plan itself changes.
Not compared is what each container has of its own: ids, times, state, assigned addresses, paths of its logs
and layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from aiidpd.components.containers.recreate.described import (
    SHORT,
    Description,
    is_connected,
    joins,
    networks,
)
from aiidpd.components.containers.recreate.plan import Plan, asked_for

_TOP: Final = ("Image", "Path", "Args", "Driver", "Platform", "MountLabel", "ProcessLabel")
# Where an empty list is asked for, the runtime hides nothing; else it hides the usual.
_EMPTY_IS_ASKED_FOR: Final = frozenset({"MaskedPaths", "ReadonlyPaths"})
_OF_A_MOUNT: Final = ("Type", "Name", "Source", "Destination", "Driver", "RW", "Propagation")
_LONGEST_VALUE: Final = 60  # characters of a value in a text
_MOST_NAMED: Final = 5
_OF_COMPOSE: Final = "affinity:container="  # a variable that its first version gives each successor


def differences(old: Description, new: Description, plan: Plan, *, loosely: bool = False) -> tuple[str, ...]:
    """Return the paths of the fields in which ``new`` is not as ``old`` but for what ``plan`` changes.

    ``loosely``: the order of variables and mounts makes no difference. Compose has one of its own.
    """
    found = [key for key in _TOP if _plain(old.get(key)) != _plain(new.get(key))]
    expected, config = _expected_config(old, plan), _own_config(new)
    wanted, host = dict(plan.body["HostConfig"]), dict(new["HostConfig"])
    if loosely:
        expected["Env"], config["Env"] = _environment(expected), _environment(config)
        wanted["Binds"], host["Binds"] = _binds(wanted), _binds(host)
    found += _different("Config", expected, config)
    found += _different("HostConfig", wanted, host)
    found += _different("Mounts", _mounts(old), _mounts(new))
    if is_connected(plan.body["HostConfig"]):
        found += _different("NetworkSettings.Networks", _endpoints(old), _endpoints(new))
    return tuple(found)


def in_words(paths: tuple[str, ...]) -> str:
    """Return the first few of ``paths`` for a text, bounded."""
    named = ", ".join(path[:_LONGEST_VALUE] for path in paths[:_MOST_NAMED])
    return f"{named} and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else named


def _expected_config(old: Description, plan: Plan) -> dict[str, Any]:
    """Return the configuration that the copy has to have: the old one's but for the text of the image."""
    config = _own_config(old)
    config["Image"] = plan.body["Image"]
    return config


def _own_config(container: Description) -> dict[str, Any]:
    """Return the configuration without a host name that nobody asked for."""
    config, host = dict(container["Config"]), container["HostConfig"]
    if joins(host, "NetworkMode"):
        config.pop("Hostname", None)
        config.pop("Domainname", None)
    elif host.get("UTSMode") == "host" or config.get("Hostname") == str(container["Id"])[:SHORT]:
        config.pop("Hostname", None)
    return config


def _environment(config: Mapping[str, Any]) -> list[str]:
    return sorted(each for each in map(str, config.get("Env") or ()) if not each.startswith(_OF_COMPOSE))


def _binds(host: Mapping[str, Any]) -> list[str]:
    return sorted(str(bind).removesuffix(":rw") for bind in host.get("Binds") or ())


def _mounts(container: Description) -> dict[str, Any]:
    return {
        str(mount.get("Destination")): {key: mount.get(key) for key in _OF_A_MOUNT}
        for mount in container.get("Mounts") or ()
    }


def _endpoints(container: Description) -> dict[str, Any]:
    return {
        name: {**asked_for(endpoint, container), "Aliases": sorted(_aliases(endpoint, container))}
        for name, endpoint in networks(container).items()
    }


def _aliases(endpoint: Mapping[str, Any], container: Description) -> set[str]:
    return set(asked_for(endpoint, container).get("Aliases") or ())


def _different(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*old, *new}):
        asked = key in _EMPTY_IS_ASKED_FOR
        if _plain(old.get(key), bare=asked) != _plain(new.get(key), bare=asked):
            yield f"{path}.{key}"


def _plain(value: Any, *, bare: bool = False) -> Any:
    """Return ``value`` without what makes no difference to the runtime: empty is the same as absent.

    ``bare``: an empty list is not.
    """
    if isinstance(value, Mapping):
        plain = {key: _plain(each) for key, each in value.items()}
        return {key: each for key, each in plain.items() if each is not None} or None
    if isinstance(value, list | tuple):
        items = [_plain(each) for each in value]
        return items if items or bare else None
    return None if value == "" and not bare else value
