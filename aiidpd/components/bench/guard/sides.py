"""Addresses of the engine in a container, and of the one that takes its place (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from aiidpd.contracts.containers import ContainerSummary, ContainersView
from aiidpd.contracts.engines import EnginesView
from aiidpd.contracts.probes import Endpoint
from aiidpd.engines.urls import address_of
from aiidpd.kernel.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class EngineSide:
    """Engine in a container, by the name under which it is polled.

    ``port`` is that inside of the container, 0 where it is not known.
    """

    name: str
    url: str
    model: str
    port: int = 0
    api_key: str | None = field(default=None, repr=False)


def find_engine(
    container: str,
    endpoint: str,
    *,
    containers: ContainersView | None,
    engines: EnginesView | None,
    endpoints: tuple[Endpoint, ...],
) -> EngineSide:
    """Return the engine in the container of that name, or the named ``endpoint``; raises Misconfigured."""
    summary = summary_of(container, containers)
    known = engines.engines if engines is not None else ()
    inside = [each for each in known if summary is not None and each.container == summary.id and each.url]
    wanted = [each for each in inside if not endpoint or each.name == endpoint]
    configured = {each.name: each for each in endpoints}
    if wanted:
        engine = wanted[0]
        own = configured.get(engine.name)
        model = engine.model or (own.model if own else "")
        side = EngineSide(engine.name, engine.url, model, api_key=own.api_key if own else None)
    elif endpoint in configured and not configured[endpoint].simulated:
        own = configured[endpoint]
        side = EngineSide(own.name, own.url, own.model, api_key=own.api_key)
    else:
        what = f"endpoint {endpoint}" if endpoint else f"an engine in container {container}"
        remedy = "`aiidpctl bench list` shows what is known; name the endpoint with --endpoint"
        raise Misconfigured("measure", what[:200], reason="there is none that is known", remedy=remedy)
    addresses = summary.addresses if summary is not None else {}
    port = next(
        (port for port, text in addresses.items() if address_of(f"http://{text}") == address_of(side.url)), 0
    )
    return EngineSide(side.name, side.url, side.model, port, side.api_key)


def summary_of(name: str, containers: ContainersView | None) -> ContainerSummary | None:
    """Return the container of just this name, None where it is not known."""
    found = containers.containers if containers is not None else ()
    return next((each for each in found if each.name == name), None)


def url_of(side: EngineSide, addresses: Mapping[int, str]) -> str:
    """Return where the engine is in a container with these ``addresses``: the old one's, where none fits."""
    address = addresses.get(side.port)
    if not address:
        return side.url
    parts = urlsplit(side.url)
    return urlunsplit((parts.scheme, address, parts.path, "", ""))
