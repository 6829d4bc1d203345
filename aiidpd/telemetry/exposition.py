"""Page that Prometheus scrapes: text or OpenMetrics, as the Accept header requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from aiohttp import web

from aiidpd.platform.host_header import is_ours
from aiidpd.telemetry.registry import Registry

_OPENMETRICS = "application/openmetrics-text"
_TYPES = ("text/plain; version=0.0.4; charset=utf-8", f"{_OPENMETRICS}; version=1.0.0; charset=utf-8")
_INDEX = b"""<!doctype html><meta charset="utf-8"><title>aiidpd</title>
<h1>aiidpd</h1><p>The on-call engineer of this machine. <a href="/metrics">Metrics</a></p>
"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def render(registry: Registry, accept: str = "") -> tuple[str, bytes]:
    """Return content type and page. OpenMetrics 1.0.0 where ``accept`` names it, text 0.0.4 otherwise.

    Never fails because of ``accept``: what a client sends there is only searched for that name, as our
    names need none of the escaping that newer versions negotiate. The page is not compressed: both
    listeners are on this machine, and compressing would cost more than all else here.
    """
    types = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    openmetrics = _OPENMETRICS in types
    return _TYPES[openmetrics], registry.page(openmetrics=openmetrics)


def metrics_handler(registry: Registry) -> Handler:
    """Return a handler for ``GET /metrics``. It works from memory and never waits."""

    async def metrics(request: web.Request) -> web.StreamResponse:
        content_type, page = render(registry, ",".join(request.headers.getall("Accept", ())))
        return web.Response(body=page, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return metrics


def _by_tcp(request: web.Request) -> bool:
    """Return whether ``request`` came over TCP, which a browser can use; a Unix socket's name is a path."""
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    return isinstance(name, tuple)


async def _index(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=_INDEX, content_type="text/html", charset="utf-8")


def metrics_app(registry: Registry, hosts: Collection[str] = ()) -> web.Application:
    """Return the application for the metrics listeners: ``/metrics``, and ``/`` that leads there.

    Over TCP a request must name a loopback address as its host, or one of ``hosts`` (in lower case).
    """

    @web.middleware
    async def for_us(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _by_tcp(request) and not is_ours(request.headers.getall("Host", ()), hosts):
            text = "the request is for a host that is not this one; telemetry.hosts names further ones"
            raise web.HTTPMisdirectedRequest(text=text)
        return await handler(request)

    app = web.Application(client_max_size=1, middlewares=[for_us])  # nothing here takes a body
    app.router.add_get("/metrics", metrics_handler(registry))
    app.router.add_get("/", _index)
    return app
