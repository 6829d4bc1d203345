"""Check of the TCP port that the metrics are served at: free, or the daemon's own."""

from __future__ import annotations

import errno
import http.client
import socket
from collections.abc import Iterator
from typing import Final

from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, failed, ok
from aiidpd.daemon.settings import TelemetrySettings

_PATIENCE: Final = 3.0
_LARGEST: Final = 1 << 20


def checks(settings: Settings, _around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    address = settings.table("telemetry", TelemetrySettings).address
    return () if address is None or not address[1] else (Check("ports", lambda: port(*address)),)


def port(host: str, number: int) -> Iterator[CheckResult]:
    """Yield whether the daemon has, or can take, the port ``number`` of ``host``."""
    where = f"telemetry.listen, {host}:{number}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                cure = "set telemetry.listen to an address and a port that this user may listen at"
                yield failed(f"{where} can't be listened at: {(error.strerror or str(error)).lower()}", cure)
                return
        else:
            yield ok(f"{where} is free")
            return
    if _ours(host, number):
        yield ok(f"{where} is served by a running aiidpd")
    else:
        cure = f"ss -ltnp 'sport = :{number}' shows by what; stop that, or set telemetry.listen"
        yield failed(f"{where} is in use by another program", cure)


def _ours(host: str, number: int) -> bool:
    connection = http.client.HTTPConnection(host, number, timeout=_PATIENCE)
    try:
        connection.request("GET", "/metrics")
        return b"aiidpd_build_info" in connection.getresponse().read(_LARGEST)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
