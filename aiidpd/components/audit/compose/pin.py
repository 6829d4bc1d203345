"""Digests of images as the local engine has them, written behind their names in a compose file."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from aiidpd.components.audit.compose.services import Project
from aiidpd.components.audit.rule import Edit, put
from aiidpd.components.audit.rules.images import pinned
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.unix_http import UnixConnection

_SECONDS: Final = 10.0
_LARGEST: Final = 4 << 20
_OK: Final = 200
_NOT_FOUND: Final = 404
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HUB: Final = "docker.io"


@dataclass(frozen=True, slots=True)
class Pin:
    """Digest of one service's image; ``reason`` is why there is none."""

    service: str
    image: str
    digest: str = ""
    reason: str = ""

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Edit that writes the digest behind the name."""
        return (put("image", f"{self.image}@{self.digest}"),) if self.digest else ()


Describe = Callable[[str], Mapping[str, Any] | None]
"""Returns the description of an image by its name, None where the engine has none."""


def pins(project: Project, describe: Describe) -> Iterable[Pin]:
    """Yield a pin for each service whose image is not pinned yet; only what was read is in it."""
    for name, service in project.services.items():
        image = service.value.get("image")
        if service.value.get("build") is not None or not isinstance(image, str) or pinned(image):
            continue
        if "image" in service.unknown:
            yield Pin(name, image, reason="a variable holds its name")
            continue
        found = describe(image)
        if found is None:
            yield Pin(name, image, reason="this machine does not have it: pull it first")
            continue
        digest = digest_of(image, found)
        yield Pin(name, image, digest, "" if digest else "it came from no registry, so that it has no digest")


def digest_of(image: str, description: Mapping[str, Any]) -> str:
    """Return the digest that the registry of ``image`` gave it, empty where it has none."""
    wanted = _repository(image)
    given = description.get("RepoDigests")
    for each in given if isinstance(given, list) else ():
        repository, _, digest = str(each).partition("@")
        if _repository(repository) == wanted and _DIGEST.fullmatch(digest):
            return digest
    return ""


def _repository(image: str) -> str:
    """Return the full name of a repository, without tag and digest."""
    path = image.partition("@")[0]
    head, colon, tail = path.rpartition(":")
    path = head if colon and "/" not in tail else path
    first, slash, _ = path.partition("/")
    if not slash:
        return f"{_HUB}/library/{path}"
    if "." in first or ":" in first or first == "localhost":
        return path
    return f"{_HUB}/{path}"


class LocalEngine:
    """Describes images by the engine behind the Unix socket ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def describe(self, image: str) -> Mapping[str, Any] | None:
        """Return the description of ``image``. Blocks; raises :class:`~aiidpd.kernel.errors.Unavailable`."""
        connection = UnixConnection(self._path, timeout=_SECONDS)
        try:
            connection.request("GET", f"/images/{quote(image, safe='/:@')}/json")
            response = connection.getresponse()
            body = response.read(_LARGEST)
        except (OSError, http.client.HTTPException) as error:
            why = (getattr(error, "strerror", None) or type(error).__name__).lower()
            raise Unavailable(
                "read images of",
                f"the engine at {self._path}",
                reason=why,
                remedy="name its socket with --engine, as a user who may use it",
            ) from None
        finally:
            connection.close()
        if response.status == _NOT_FOUND:
            return None
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if response.status != _OK or not isinstance(found, dict):
            raise Unavailable("read", f"image {image[:100]}", reason=f"the engine answers {response.status}")
        return found
