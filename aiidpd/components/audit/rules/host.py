"""Rules on this machine: what is installed on it, and what listens (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from aiidpd.components.audit.facts import Facts, HostFacts, Listener
from aiidpd.components.audit.rule import Found, Level, rule

_CDI: Final = (1, 18)
"""Version of the toolkit from which it uses CDI by itself."""
_VERSION: Final = re.compile(r"(?:\d+:)?(\d{1,6})\.(\d{1,6})")


def _reachable(listener: Listener) -> bool:
    try:
        return not ip_address(listener.address).is_loopback
    except ValueError:
        return False


@rule(
    "toolkit-old",
    Level.HIGH,
    "The NVIDIA Container Toolkit is older than 1.18",
    why="Its containers lose their GPUs when systemd reloads its units, at each update of a package: "
    "`Failed to initialize NVML: Unknown Error`.",
    remedy="update nvidia-container-toolkit to 1.18 or newer, then create the containers anew",
)
def toolkit_old(host: HostFacts, _: Facts) -> Iterator[Found]:
    """Find toolkits from before CDI was the rule."""
    version = host.toolkit.version if host.toolkit is not None else ""
    match = _VERSION.match(version)
    if match is not None and (int(match[1]), int(match[2])) < _CDI:
        yield Found(f"nvidia-container-toolkit is {version}", "nvidia-container-toolkit")


@rule(
    "toolkit-legacy",
    Level.MEDIUM,
    "The NVIDIA runtime is in legacy mode",
    why="In it, too, containers lose their GPUs when systemd reloads its units.",
    remedy='set mode = "auto" or "cdi" in its config.toml, then create the containers anew',
)
def toolkit_legacy(host: HostFacts, _: Facts) -> Iterator[Found]:
    """Find runtimes that do not use CDI."""
    if host.toolkit is not None and host.toolkit.mode == "legacy":
        yield Found('its mode is "legacy"', "nvidia-container-runtime")


@rule(
    "toolkit-any-container",
    Level.LOW,
    "A container without rights gets GPUs by a variable",
    why="accept-nvidia-visible-devices-envvar-when-unprivileged lets each image choose GPUs for itself.",
    remedy="set it to false, and reserve GPUs for those that need them",
)
def toolkit_any_container(host: HostFacts, _: Facts) -> Iterator[Found]:
    """Find toolkits that were told to let images choose GPUs."""
    if host.toolkit is not None and host.toolkit.any_container:
        yield Found("images may choose GPUs for themselves", "nvidia-container-runtime")


@rule(
    "driver-upgraded-unattended",
    Level.MEDIUM,
    "Unattended upgrades may replace the NVIDIA driver",
    why="Library and module then differ until the next reboot, and every engine that is started fails.",
    remedy="put the packages on Unattended-Upgrade::Package-Blacklist, or hold them with `apt-mark hold`",
)
def driver_upgraded_unattended(host: HostFacts, _: Facts) -> Iterator[Found]:
    """Find packages of the driver that are upgraded when nobody watches."""
    upgrades = host.upgrades
    if upgrades is not None and upgrades.enabled and upgrades.nvidia:
        shown = ", ".join(upgrades.nvidia[:3])
        more = f" and {len(upgrades.nvidia) - 3} more" if len(upgrades.nvidia) > 3 else ""  # noqa: PLR2004 -- as shown
        yield Found(f"it may replace {shown}{more}", "unattended-upgrades")


@rule(
    "listener-open",
    Level.CRITICAL,
    "An inference server answers the network without a key",
    why="Anybody who reaches it generates at your cost, reads what others asked and, with tools, acts here. "
    "175108 such Ollama servers were counted in January 2026.",
    remedy="have it listen on 127.0.0.1, and require a key",
)
def listener_open(listener: Listener, _: Facts) -> Iterator[Found]:
    """Find servers that are reachable beyond loopback and need no key."""
    if _reachable(listener) and listener.keyless:
        yield Found(f"{listener.engine} listens on {listener.name}, and needs no key", listener.name)


@rule(
    "listener-reachable",
    Level.HIGH,
    "An inference server listens beyond loopback",
    why="A key travels in the clear there, and every fault of the server is one for the network.",
    remedy="have it listen on 127.0.0.1, with a proxy that speaks TLS in front",
)
def listener_reachable(listener: Listener, _: Facts) -> Iterator[Found]:
    """Find servers that are reachable beyond loopback and need a key, as far as is known."""
    if _reachable(listener) and not listener.keyless:
        yield Found(f"{listener.engine} listens on {listener.name}", listener.name)


@rule(
    "listener-keyless",
    Level.LOW,
    "An inference server needs no key",
    why="Every user and container of this machine may use it, and a page in a browser here as well.",
    remedy="require a key: --api-key-file of llama.cpp, api-key in a file of --config of vLLM",
)
def listener_keyless(listener: Listener, _: Facts) -> Iterator[Found]:
    """Find servers on loopback that need no key."""
    if not _reachable(listener) and listener.keyless:
        yield Found(f"{listener.engine} on {listener.name} needs no key", listener.name)


@rule(
    "listener-path-open",
    Level.HIGH,
    "A path of an inference server answers without its key",
    why="vLLM checks its key below /v1 alone: /invocations generates for anybody (vllm issue 58144).",
    remedy="put a proxy in front that lets /v1 through and nothing else",
)
def listener_path_open(listener: Listener, _: Facts) -> Iterator[Found]:
    """Find paths that generate without the key that others require."""
    if listener.open_paths and not listener.keyless:
        what = (
            f"{listener.engine} on {listener.name} answers {', '.join(listener.open_paths)} without its key"
        )
        yield Found(what, listener.name)


RULES: Final = (toolkit_old, toolkit_legacy, toolkit_any_container, driver_upgraded_unattended)
LISTENER_RULES: Final = (listener_open, listener_reachable, listener_keyless, listener_path_open)
