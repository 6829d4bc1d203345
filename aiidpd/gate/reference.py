"""References of images, read strictly and written anew in one way (pure).

``vllm/vllm-openai:v1`` is ``docker.io/vllm/vllm-openai:v1``, as the engine reads it. Whatever another reader
could take for another image is none: capitals in a name, a repository that could be the beginning of an id, a
name on docker.io that begins as a registry does.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_HUB: Final = "docker.io"
_INDEX: Final = "index.docker.io"
_OFFICIAL: Final = "library/"
_LATEST: Final = "latest"
_LONGEST_NAME: Final = 255
_LONGEST: Final = 512
_IDENTITY: Final = re.compile("sha256:[0-9a-f]{64}", re.ASCII)
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_REGISTRY: Final = re.compile(rf"({_LABEL}(?:\.{_LABEL})*)(:[0-9]{{1,5}})?", re.ASCII)
_PART: Final = re.compile("[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG: Final = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_ALGORITHMS: Final = ("sha256", "sha384", "sha512")
_HEX: Final = re.compile("[0-9a-f]{64}", re.ASCII)


class Reference(NamedTuple):
    """Image of a repository: by its tag, or by its digest where it has one."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """Registry and path, with neither left out."""
        return f"{self.registry}/{self.path}"

    @property
    def version(self) -> str:
        """Tag or digest by which it is found."""
        return self.digest or self.tag

    @property
    def whole(self) -> str:
        """Text by which the engine finds it, with nothing left to the engine's defaults."""
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"

    @property
    def text(self) -> str:
        """Text for people: without the registry where that is Docker Hub's."""
        name = self.repository if self.registry != _HUB else self.path
        short = name.removeprefix(_OFFICIAL)
        name = short if self.registry == _HUB and "/" not in short else name
        return f"{name}{f':{self.tag}' * bool(self.tag)}{f'@{self.digest}' * bool(self.digest)}"


def is_identity(text: str) -> bool:
    """Return whether ``text`` is the whole id of an image."""
    return _IDENTITY.fullmatch(text) is not None


def parse(text: str) -> Reference | None:
    """Return the reference in ``text``, its tag ``latest`` where it has neither tag nor digest; or None."""
    if len(text) > _LONGEST:
        return None
    rest, at, digest = text.partition("@")
    if at and not _IDENTITY.fullmatch(digest):
        return None
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, "" if digest else _LATEST
    elif _TAG.fullmatch(tag):
        name = head
    else:
        return None
    found = _split(name)
    return None if found is None else Reference(*found, tag, digest)


def canonical(text: str) -> str | None:
    """Return a reference or the whole id of an image, written anew; None for what is neither."""
    if is_identity(text):
        return text
    found = parse(text)
    return None if found is None else found.text


def _split(name: str) -> tuple[str, str] | None:
    """Return registry and path of a name, None where it is none."""
    first, slash, rest = name.partition("/")
    if slash and _is_registry(first):
        registry, path = (_HUB if first == _INDEX else first), rest
    else:
        registry, path = _HUB, name
    if registry == _HUB and "/" not in path:
        path = f"{_OFFICIAL}{path}"
    if len(registry) + 1 + len(path) > _LONGEST_NAME or not _REGISTRY.fullmatch(registry):
        return None
    parts = path.split("/")
    if not all(_PART.fullmatch(part) for part in parts):
        return None
    if registry == _HUB and (_is_registry(parts[0]) or _like_identity(path)):
        return None
    return registry, path


def _is_registry(part: str) -> bool:
    return "." in part or ":" in part or part == "localhost"


def _like_identity(path: str) -> bool:
    """Return whether the engine could take the familiar form for an id, or the beginning of one."""
    name = path.removeprefix(_OFFICIAL)
    return name in _ALGORITHMS or _HEX.fullmatch(name) is not None
