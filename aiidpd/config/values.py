"""Requirements of values beyond their TOML type: paths, addresses, URLs, names, schedules. No I/O.

Each function takes the raw value, returns the value that the daemon works with, and raises
:class:`~aiidpd.config.units.Malformed`.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from aiidpd.config.units import Malformed

SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path holds 108 with its closing zero (unix(7))
_LARGEST_UID = 2**32 - 2  # the last number means "no user" (chown(2))
_LONGEST_CALENDAR = 400  # the parser recurses on what it is given
_PORT, _PORT_DIGITS = 2**16 - 1, 5
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?", re.ASCII)
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,127}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9_.-]*[a-z0-9])?\.?|[0-9a-f:]{2,39}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)


def text(value: object) -> str:
    """Return ``value`` where it is a string without control characters."""
    if not isinstance(value, str):
        raise Malformed("must be a string", "write it in quotes")
    if not value.isprintable():
        raise Malformed("holds a control character or is not valid UTF-8")
    return value


def absolute_path(value: object) -> Path:
    """Return ``value`` as an absolute path."""
    if isinstance(value, Path):
        return value
    written = text(value)
    if not written.startswith("/"):
        raise Malformed("must be an absolute path", "write it from the root, beginning with /")
    return Path(written)


def optional_path(value: object) -> Path | None:
    """Return ``value`` as an absolute path, or None for the empty string."""
    return None if value in ("", None) else absolute_path(value)


def socket_path(value: object) -> Path:
    """Return ``value`` as an absolute path that a Unix socket can have."""
    path = absolute_path(value)
    check_socket_path(path)
    return path


def check_socket_path(path: Path) -> None:
    """Refuse a path that is too long for a Unix socket's address."""
    size = len(bytes(path))
    if size > SOCKET_PATH_BYTES:
        raise Malformed(
            f"{path} has {size} bytes, and a Unix socket's path holds {SOCKET_PATH_BYTES}",
            "choose a shorter path",
        )


def loopback(value: object) -> str:
    """Return ``value`` (such as ``[::1]:9753``, or empty) where only this machine can reach it."""
    written = text(value)
    if written:
        host, _ = split_address(written)
        if not ip_address(host).is_loopback:
            raise Malformed(
                f"{host} can be reached from other machines, and the metrics are served without a password",
                "listen on 127.0.0.1 or [::1] and put a proxy that knows its clients before it",
            )
    return written


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``address``; the host is an IP address, without brackets."""
    remedy = 'write it as "127.0.0.1:9753" or "[::1]:9753"'
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Malformed("an IPv6 address must be in brackets", remedy)
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > _PORT_DIGITS or int(port) > _PORT:
        raise Malformed("must be an IP address and a port", remedy)
    try:
        ip_address(host)
    except ValueError:
        raise Malformed(f"{host!r} is not an IP address", remedy) from None
    return host, int(port)


def host_name(value: object) -> str:
    """Return ``value`` in lower case where it is the name or address of a host, without a port."""
    written = text(value).lower()
    if not _HOST.fullmatch(written):
        raise Malformed("is not the name of a host", 'write it without a port, such as "gpu1.example.org"')
    return written.removesuffix(".")


def http_url(value: object) -> str:
    """Return ``value`` (or the empty string) where it is an http or https URL without secrets in it."""
    written = text(value)
    if not written:
        return written
    remedy = 'write it as "http://127.0.0.1:8000"'
    try:
        parts = urlsplit(written)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Malformed(f"is not a URL: {error}", remedy, hide=True) from None
    if "@" in parts.netloc:
        raise Malformed("holds a user name or a password", "give the secret as api_key", hide=True)
    if parts.query or parts.fragment:
        raise Malformed("holds a query or a fragment", f"give the base URL; {remedy}", hide=True)
    if parts.scheme not in ("http", "https") or not host or " " in written:
        raise Malformed("must be an http or https URL", remedy)
    return written.rstrip("/")


def name(value: object) -> str:
    """Return ``value`` where it can be a metric's label and a part of a file's name."""
    if not _NAME.fullmatch(text(value)):
        raise Malformed(
            "must be 1 to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit"
        )
    return str(value)


def container(value: object) -> str:
    """Return ``value`` where it can be a container's name."""
    if not _CONTAINER.fullmatch(text(value)):
        raise Malformed(
            "can't be the name of a container",
            "write the name that `docker ps` shows, without a slash before it",
        )
    return str(value)


def unique(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``given`` where nothing is in it twice."""
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise Malformed(f"{', '.join(twice)} is named more than once", "name each once")
    return given


def number(value: object) -> float:
    """Return ``value`` where it is a finite number, or is written as one (a variable holds text)."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise Malformed("must be a number", "write it as 0.30") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Malformed("must be a number", "write it as 0.30")
    return float(value)


def currency(value: object) -> str:
    """Return ``value`` where it is written as the code of a currency."""
    if not _CURRENCY.fullmatch(text(value)):
        raise Malformed("is not the code of a currency", 'write three letters, such as "EUR"')
    return str(value)


def account(value: object) -> str | int:
    """Return ``value`` where it is a user's name or number; whether the user exists is checked later."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= _LARGEST_UID:
            raise Malformed(f"a user's number lies between 0 and {_LARGEST_UID}")
        return value
    if not isinstance(value, str):
        raise Malformed("must be a user's name or number", 'write it as "alice" or 1000')
    if value.isascii() and value.isdigit():
        raise Malformed("a user's number is written without quotes", f"write {value[:12]}")
    return account_name(value)


def account_name(value: object) -> str:
    """Return ``value`` where it can be the name of a user or a group."""
    if not _ACCOUNT.fullmatch(text(value)):
        raise Malformed("can't be the name of a user or a group")
    return str(value)


def optional_group(value: object) -> str:
    """Return ``value`` where it can be a group's name or is empty."""
    return "" if value == "" else account_name(value)


def calendar(value: object) -> str:
    """Return ``value`` where it is a calendar expression (systemd.time(7)) that comes true, or empty."""
    # Imported here: the default is known to be sound, so most starts need not load it.
    from oncalendar import OnCalendarError, TzIterator  # noqa: PLC0415

    written = text(value)
    remedy = 'write it as systemd does, such as "Sun 03:00", "daily" or "*-*-01 02:30"'
    if not written:
        return written
    if len(written) > _LONGEST_CALENDAR:
        raise Malformed(f"is longer than {_LONGEST_CALENDAR} characters", remedy)
    try:
        next(TzIterator(written, datetime(2000, 1, 1, tzinfo=UTC)))
    except StopIteration:
        raise Malformed("names a time that never comes", remedy) from None
    except (OnCalendarError, OSError, ValueError, OverflowError) as error:
        detail = f": {error}" if isinstance(error, OnCalendarError) else ""
        raise Malformed(f"is not a calendar expression{detail}", remedy) from None
    return written


def secret(value: object) -> str | None:
    """Return ``value`` where it can be sent as a key in a header; None for the empty string."""
    if not isinstance(value, str):
        raise Malformed("must be a string", "write it in quotes", hide=True)
    if not value:
        return None
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise Malformed("holds a space, a control character or a letter outside ASCII", hide=True)
    return value
