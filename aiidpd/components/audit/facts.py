"""Facts that rules judge, beside a container itself (pure). None is what could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from aiidpd.contracts.inspections import EngineFacts, Inspection

_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Firewall:
    """Packet filter of the host. ``name`` is who rules it: ufw, firewalld, iptables, empty for nobody.

    ``closed``: what comes in is dropped by default. ``forwards_filtered``: the chain DOCKER-USER, which
    packets to containers pass, has rules that drop some.
    """

    name: str = ""
    closed: bool = False
    forwards_filtered: bool = False


@dataclass(frozen=True, slots=True)
class Toolkit:
    """NVIDIA Container Toolkit: its version as the package has it, and the mode of its runtime."""

    version: str = ""
    mode: str = ""
    any_container: bool = False
    """A container gets GPUs by an environment variable alone (accept-nvidia-visible-devices-envvar...)."""


@dataclass(frozen=True, slots=True)
class Upgrades:
    """Unattended upgrades. ``nvidia`` names installed packages of the driver that they may replace."""

    enabled: bool = False
    nvidia: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts about this machine; None is what could not be read, with the reason in ``unread`` by its name.

    ``daemon`` is the engine's file of its configuration.
    """

    firewall: Firewall | None = None
    toolkit: Toolkit | None = None
    upgrades: Upgrades | None = None
    daemon: Mapping[str, Any] | None = None
    unread: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener of this machine that speaks an inference API.

    ``address`` is as the kernel has it. ``keyless`` is True where it answers without a key, None where that
    is not known; ``open_paths`` are those that answer without one although others require it.
    """

    address: str
    port: int
    engine: str
    keyless: bool | None = None
    open_paths: tuple[str, ...] = ()
    container: str = ""

    @property
    def name(self) -> str:
        """Address and port."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model on the disk. ``pickles`` are files that run code when they are read with pickle.

    ``own_code``: it brings code that the engine has to trust. ``writable`` are files that every user may
    write.
    """

    name: str
    folder: str = ""
    pickles: tuple[str, ...] = ()
    safe: bool = False
    """Also in a form without code the same weights are there."""
    own_code: bool = False
    writable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """Service of a compose file that a container was made of.

    ``problem`` is why there is none. ``unknown`` names the fields of it that depend on variables.
    """

    service: Inspection | None = None
    file: str = ""
    problem: str = ""
    missing: bool = False
    """No such service is in the file any more."""
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts around each subject. ``declared`` is by the id of a container; ``gpus`` counts them."""

    engine: EngineFacts | None = None
    host: HostFacts = field(default_factory=HostFacts)
    gpus: int | None = None
    model_folders: tuple[str, ...] = ()
    declared: Mapping[str, Declared] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def daemon(self) -> Mapping[str, Any]:
        """Configuration of the engine, empty where it could not be read."""
        return self.host.daemon or _EMPTY
