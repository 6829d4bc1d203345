"""Engines of this machine: those that the configuration names, and those in containers (pure).

An engine that is reached in two ways, as an endpoint and as a container, is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from aiidpd.components.engines.settings import EngineServer
from aiidpd.contracts.containers import ContainerSummary
from aiidpd.contracts.probes import Endpoint
from aiidpd.engines.all import ENGINES, profile_named
from aiidpd.engines.profile import OFF, EngineProfile, Start, port_of
from aiidpd.engines.urls import address_of, page_url
from aiidpd.kernel.errors import Misconfigured

ENGINE: Final = "aiidpd.engine"
PORT: Final = "aiidpd.engine.port"
URL: Final = "aiidpd.engine.url"
MAY_SLEEP: Final = "aiidpd.engine.may-sleep"
NOT_RUNNING: Final = "its container does not run"
PAUSED: Final = "its container is paused"
SWITCHED_OFF: Final = f"the label {ENGINE}={OFF} says to leave it alone"
_SWITCH: Final[Mapping[str, bool]] = MappingProxyType(
    {"yes": True, "true": True, "no": False, "false": False}
)
_LONGEST: Final = 200  # characters of a text from outside
_SHOWN: Final = 40  # characters of a label that is refused
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """An engine to poll. ``profile`` is empty where it is not known which one it is.

    ``run`` is when its container was started (Unix seconds). ``start`` is None where it is not known how the
    engine was started. ``off`` is why it is not polled now. ``notes`` are what is wrong with its labels.
    """

    name: str
    model: str = ""
    url: str = ""
    profile: str = ""
    container: str = ""
    run: float | None = None
    simulated: bool = False
    may_sleep: bool | None = None
    api_key: str | None = field(default=None, repr=False)
    start: Start | None = field(default=None, repr=False)
    off: str = ""
    notes: tuple[str, ...] = ()

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port."""
        return address_of(self.url) if self.url else None

    @property
    def polled_alike(self) -> FoundEngine:
        """Engine without what passes: the rest decides how it is polled."""
        return replace(self, off="", notes=())


@dataclass(frozen=True, slots=True)
class _Hosted:
    """A container, and the engine in it as far as that is known."""

    container: ContainerSummary
    profile: EngineProfile | None
    start: Start
    url: str
    may_sleep: bool | None
    off: str
    notes: tuple[str, ...]

    @property
    def addresses(self) -> frozenset[tuple[str, int]]:
        """Every address at which it can be reached."""
        urls = [f"http://{each}" for each in self.container.addresses.values()]
        found = (address_of(each) for each in (*urls, self.url) if each)
        return frozenset(each for each in found if each is not None)

    @property
    def now_off(self) -> str:
        if self.off:
            return self.off
        if self.container.state == "paused":
            return PAUSED
        return "" if self.container.running else NOT_RUNNING


class Discovery:
    """Finds the engines; what it found of a container that did not change is reused."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ContainerSummary, _Hosted]] = {}

    def find(
        self,
        endpoints: Iterable[Endpoint],
        servers: Iterable[EngineServer],
        containers: Sequence[ContainerSummary],
    ) -> tuple[FoundEngine, ...]:
        """Return every engine: endpoints in their order, then servers, then those in other containers."""
        hosted = [self._host(each) for each in containers]
        self._known = {each.container.id: (each.container, each) for each in hosted}
        found = _configured(endpoints, servers, hosted)
        taken: set[str] = set()
        for place, engine in enumerate(found):
            linked = _linked(engine, hosted)
            if linked is not None:
                found[place] = _in_container(engine, linked)
                taken.add(linked.container.id)
        names = {each.name for each in found}
        for each in hosted:
            if each.container.id not in taken and (each.profile is not None or each.notes) and not each.off:
                engine = _of_container(each, names)
                names.add(engine.name)
                found.append(engine)
        return tuple(found)

    def _host(self, container: ContainerSummary) -> _Hosted:
        known = self._known.get(container.id)
        return known[1] if known is not None and known[0] == container else _hosted(container)


def _configured(
    endpoints: Iterable[Endpoint], servers: Iterable[EngineServer], hosted: Sequence[_Hosted]
) -> list[FoundEngine]:
    found = [
        FoundEngine(each.name, each.model, each.url, simulated=each.simulated, api_key=each.api_key)
        for each in endpoints
    ]
    by_name = {each.container.name: each for each in hosted}
    for server in servers:
        named = by_name.get(server.container) if server.container else None
        url = server.url or (named.url if named else "")
        key = server.api_key.get_secret_value() if server.api_key else None
        own = FoundEngine(
            server.name, url=url, profile=server.engine, may_sleep=_SWITCH.get(server.may_sleep), api_key=key
        )
        if named is not None:
            own = replace(own, container=named.container.id)
        elif server.container and not server.url:
            own = replace(own, off=f"there is no container {server.container}")
        same = [
            place
            for place, each in enumerate(found)
            if each.name == own.name or (each.address is not None and each.address == own.address)
        ]
        for place in same:
            found[place] = _merged(found[place], own)
        if not same:
            found.append(own)
    return found


def _merged(endpoint: FoundEngine, server: FoundEngine) -> FoundEngine:
    return replace(
        endpoint,
        url=endpoint.url or server.url,
        profile=server.profile or endpoint.profile,
        may_sleep=server.may_sleep if server.may_sleep is not None else endpoint.may_sleep,
        api_key=endpoint.api_key or server.api_key,
        container=server.container,
    )


def _linked(engine: FoundEngine, hosted: Sequence[_Hosted]) -> _Hosted | None:
    if engine.container:
        return next((each for each in hosted if each.container.id == engine.container), None)
    address = engine.address
    return None if address is None else next((each for each in hosted if address in each.addresses), None)


def _in_container(engine: FoundEngine, hosted: _Hosted) -> FoundEngine:
    """Return ``engine`` with what is known by its container; what is configured counts more."""
    profile = profile_named(engine.profile) or hosted.profile
    return replace(
        engine,
        profile=profile.name if profile else "",
        container=hosted.container.id,
        run=hosted.container.started_at,
        may_sleep=engine.may_sleep if engine.may_sleep is not None else hosted.may_sleep,
        api_key=engine.api_key or _key(profile, hosted.start),
        start=hosted.start,
        off=engine.off or hosted.now_off,
        notes=hosted.notes,
    )


def _of_container(hosted: _Hosted, names: set[str]) -> FoundEngine:
    container, profile = hosted.container, hosted.profile
    name = container.name[:_LONGEST] or container.id[:12]
    if name in names:
        name = f"{name}@{container.id[:12]}"
    off = hosted.now_off
    if not off and profile is None:
        off = "; ".join(hosted.notes)
    elif not off and not hosted.url:
        off = f"its port can't be reached or is not known: publish it, or set the label {PORT} or {URL}"
    model = (hosted.start.value(profile.model) or "") if profile else ""
    return FoundEngine(
        name,
        model if model.isprintable() and len(model) <= _LONGEST else "",
        hosted.url,
        profile.name if profile else "",
        container.id,
        container.started_at,
        may_sleep=hosted.may_sleep,
        api_key=_key(profile, hosted.start),
        start=hosted.start,
        off=off,
        notes=hosted.notes,
    )


def _key(profile: EngineProfile | None, start: Start) -> str | None:
    """Return the key that the engine requires, as it was started with; the first one of several."""
    given = start.value(profile.key) if profile else None
    key = (given or "").partition(",")[0].strip()
    return key if key.isascii() and key.isprintable() and key else None


def _hosted(container: ContainerSummary) -> _Hosted:
    labels, notes = container.labels, list[str]()
    start = Start(container.arguments, container.environment)
    named = labels.get(ENGINE, "").strip().lower()
    profile = profile_named(named)
    if named and named != OFF and profile is None:
        known = ", ".join([*(each.name for each in ENGINES), OFF])
        notes.append(_wrong(ENGINE, named, f"one of {known}"))
    if profile is None:
        profile = next((each for each in ENGINES if each.matches(container.image, start)), None)
    may_sleep = None
    if MAY_SLEEP in labels:
        may_sleep = _SWITCH.get(labels[MAY_SLEEP].strip().lower())
        if may_sleep is None:
            notes.append(_wrong(MAY_SLEEP, labels[MAY_SLEEP], "yes or no"))
            may_sleep = True  # until it can be read, the one that harms nothing
    url = _url(container, profile, start, notes)
    off = SWITCHED_OFF if named == OFF else ""
    return _Hosted(container, profile, start, url, may_sleep, off, tuple(notes))


def _url(container: ContainerSummary, profile: EngineProfile | None, start: Start, notes: list[str]) -> str:
    """Return where the engine in ``container`` can be reached, empty where that is not known."""
    labels = container.labels
    if URL in labels:
        url = labels[URL].strip()
        if _usable(url, container.name):
            return url
        notes.append(_wrong(URL, url, "http://HOST:PORT"))
    port = port_of(labels[PORT].strip()) if PORT in labels else None
    if PORT in labels and port is None:
        notes.append(_wrong(PORT, labels[PORT], "a number from 1 to 65535"))
    if profile is None:
        return ""
    port = port or profile.listens_at(start)
    if port is None:
        return ""
    path = profile.base_path(start)
    if container.host_network:
        return f"http://{_LOOPBACK}:{port}{path}"
    address = container.addresses.get(port)
    return f"http://{address}{path}" if address else ""


def _usable(url: str, name: str) -> bool:
    if len(url) > _LONGEST or not url.isprintable():
        return False
    try:
        page_url(url, name, "/")
    except Misconfigured:
        return False
    return True


def _wrong(label: str, value: str, wanted: str) -> str:
    shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
    return f"the label {label} is {shown!r}, which is not {wanted}"
