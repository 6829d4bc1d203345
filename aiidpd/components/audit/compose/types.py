"""Types that the keys of a service have in a compose file (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiidpd.components.audit.compose.problem import ComposeError

_LISTS: Final = frozenset(
    {"cap_add", "cap_drop", "security_opt", "group_add", "ports", "volumes", "devices", "device_cgroup_rules"}
)
_MAPS: Final = frozenset({"deploy", "logging", "healthcheck", "ulimits"})
_EITHER: Final = frozenset({"environment", "labels"})
_SINGLE: Final = frozenset(
    {"image", "user", "privileged", "read_only", "pid", "ipc", "uts", "userns_mode", "network_mode", "cgroup"}
    | {"cgroup_parent", "mem_limit", "pids_limit", "restart", "runtime", "oom_kill_disable", "oom_score_adj"}
    | {"cpus", "cpu_quota", "cpu_shares", "cpu_count", "cpuset"}
)
_OF_MAPS: Final = frozenset({"ports", "volumes", "devices"})  # lists whose entries may be maps
_TRUE: Final = frozenset({"true", "yes", "on", "y"})


def check_types(name: str, service: Mapping[str, Any]) -> None:
    """Raise :class:`ComposeError` for the first key of a service whose value has a wrong type."""
    for key, value in service.items():
        if value is None:
            continue
        wanted = _wanted(key, value)
        if wanted:
            raise ComposeError(f"services.{name}.{key} must be {wanted}, and is {_kind(value)}")
        if key in _LISTS:
            for each in value:
                if isinstance(each, list) or (isinstance(each, dict) and key not in _OF_MAPS) or each is None:
                    raise ComposeError(f"services.{name}.{key} has an entry that is {_kind(each)}")


def _wanted(key: str, value: Any) -> str:
    if key in _LISTS and not isinstance(value, list):
        return "a list"
    if key in _MAPS and not isinstance(value, dict):
        return "a map"
    if key in _EITHER and not isinstance(value, dict | list):
        return "a map or a list"
    return "a single value" if key in _SINGLE and isinstance(value, dict | list) else ""


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    return "a map" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a single value"


def texts(value: Any) -> tuple[str, ...]:
    """Return the entries of a list as text."""
    if not isinstance(value, list):
        return ()
    return tuple(str(each) for each in value if not isinstance(each, dict | list) and each is not None)


def truth(value: Any) -> bool:
    """Return whether ``value`` is true, as the most generous reader of YAML has it."""
    return value is True or (isinstance(value, str) and value.strip().lower() in _TRUE)
