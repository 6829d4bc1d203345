"""Profile of an inference engine: how it is recognised and was started, and what may be requested (pure).

A poll is a conversation: a generator that yields one :class:`PageRequest` at a time and is sent the
:class:`Reply`. So that what is requested, and in which order, is decided without any I/O.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from aiidpd.engines.figures import EngineReading, Names, NotKnown, Samples

OFF: Final = "off"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_LONGEST_ARGUMENT: Final = 8192  # characters; a longer one is no command line
_LONGEST_VERSION: Final = 80  # characters
_FIRST_WORDS: Final = 8  # of a command line, among which is the program
_LARGEST_PORT: Final = 2**16 - 1
# What may pass by itself: the model is being loaded, a proxy has nobody behind it, too many requests.
_PASSING: Final = frozenset({0, 408, 425, 429, 500, 502, 503, 504})
_BUSY: Final = frozenset({429, 503})
OK: Final = 200
UNAVAILABLE: Final = 503


class Kind(Enum):
    """Kinds of pages."""

    DOCUMENT = "JSON"
    SAMPLES = "text for Prometheus"


@dataclass(frozen=True, slots=True)
class PageRequest:
    """GET of one page."""

    path: str
    kind: Kind = Kind.DOCUMENT


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer to a request. ``status`` is 0 where none came; ``reason`` is why there is no content.

    ``server`` is the name that the server gives itself, in its header.
    """

    status: int = 0
    document: Any = None
    samples: Samples | None = None
    reason: str = ""
    malformed: bool = False
    server: str = ""

    @property
    def good(self) -> bool:
        """True where the page came and could be read."""
        return self.status == OK and not self.malformed

    @property
    def absent(self) -> bool:
        """True where the server has no such page, as far as is known."""
        return not self.good and (self.malformed or self.status not in _PASSING)

    @property
    def busy(self) -> bool:
        """True where the server refuses because it has too much to do."""
        return self.status in _BUSY

    def not_known(self) -> NotKnown:
        """Return the reason why nothing is known."""
        return NotKnown(self.reason, lasting=self.absent)


@dataclass(frozen=True, slots=True)
class Option:
    """Option of an engine's command line, and the variables that can give it instead."""

    flags: tuple[str, ...]
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """Command line and environment of an engine. They may hold secrets: nothing of them is shown."""

    arguments: tuple[str, ...] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=lambda: _NONE, repr=False)

    def words(self) -> list[str]:
        """Return the arguments, those of a shell's command line taken apart."""
        found: list[str] = []
        for argument in self.arguments:
            if len(argument) > _LONGEST_ARGUMENT:
                continue
            if re.search(r"\s", argument) and re.search(r"(^|\s)-", argument):
                try:
                    found += shlex.split(argument)
                except ValueError:
                    found += argument.split()
            else:
                found.append(argument)
        return found

    def value(self, option: Option | None) -> str | None:
        """Return the value of ``option``, the last one given; a flag counts more than a variable."""
        if option is None:
            return None
        words, found = self.words(), None
        for place, word in enumerate(words):
            name, equals, value = word.partition("=")
            if name in option.flags:
                found = value if equals else next(iter(words[place + 1 : place + 2]), None)
        if found is not None:
            return found
        return next((self.environment[each] for each in option.environment if each in self.environment), None)

    def given(self, option: Option) -> bool:
        """Return whether ``option``, which takes no value, is switched on."""
        if any(word.partition("=")[0] in option.flags for word in self.words()):
            return True
        values = (self.environment.get(each, "").strip().lower() for each in option.environment)
        return any(value in ("1", "true", "on", "enabled", "yes") for value in values)

    def runs(self, programs: tuple[str, ...]) -> bool:
        """Return whether one of ``programs`` is run: by its name, its path or as a Python module."""
        return any(word.rpartition("/")[2] in programs for word in self.words()[:_FIRST_WORDS])


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about an engine beside its answers.

    ``model`` is the one that is of interest, empty for any. ``start`` is None where it is not known how it
    was started. ``may_sleep`` is what the configuration says of it, None where it says nothing.
    """

    model: str = ""
    start: Start | None = None
    may_sleep: bool | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Facts that one poll hands to the next. Times are monotonic seconds.

    ``slept``: it was seen asleep. ``may_sleep`` is what was last known of that.
    ``page`` is a page that changes rarely, as it was at ``page_at``.
    ``no_figures`` is why it has no page of figures, found at ``no_figures_at``. ``steps`` counts the progress
    of ``tasks``, where the engine has no counter of its own. ``slots_at`` is when they were read last.
    """

    slept: bool = False
    may_sleep: bool = False
    page: Mapping[str, Any] | None = None
    page_at: float = 0.0
    no_figures: NotKnown | None = None
    no_figures_at: float = 0.0
    steps: int = 0
    slots_at: float = -math.inf
    tasks: Mapping[tuple[int, int], int] = field(default_factory=lambda: MappingProxyType({}))


Poll: TypeAlias = Generator[PageRequest, Reply, tuple[EngineReading, Memory]]


@dataclass(frozen=True, slots=True)
class Version:
    """Page that counts as no use, a JSON object, and its key that holds the engine's version."""

    path: str
    key: str

    def of(self, reply: Reply) -> str:
        """Return the version in ``reply``, bounded; empty where it has none."""
        found = as_mapping(reply.document).get(self.key) if reply.good else None
        return " ".join(found.split())[:_LONGEST_VERSION] if isinstance(found, str) else ""


def always(_: Start) -> bool:
    """Return True: however it was started, any request may find its model out of memory."""
    return True


def _never(_: Start) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """One engine.

    ``images`` are patterns of container images without tag and digest; ``programs`` are names of programs and
    Python modules. ``poll`` holds one conversation. ``port`` is the one that it listens at by default.
    ``owner`` is what /v1/models has as ``owned_by``. ``address`` is an option that holds host and port.
    ``any_model`` is a name that it takes for whatever it serves, empty where it takes its own alone.
    ``sleeps`` returns whether its model can go to sleep or be unloaded, by how it was started, and
    ``start_decides`` is true where nothing else decides that.
    """

    name: str
    images: tuple[str, ...]
    programs: tuple[str, ...]
    port: int
    poll: Callable[[Facts, Memory, float], Poll]
    owner: str = ""
    ports: Option | None = None
    address: Option | None = None
    prefix: Option | None = None
    model: Option | None = None
    key: Option | None = None
    any_model: str = ""
    names: Names = field(default_factory=Names)
    sleeps: Callable[[Start], bool] = _never
    version: Version | None = None
    start_decides: bool = False

    def matches(self, image: str, start: Start) -> bool:
        """Return whether a container of ``image``, started so, is this engine."""
        if start.runs(self.programs):
            return True
        path = image_path(image)
        return any(re.fullmatch(pattern, path) for pattern in self.images)

    def listens_at(self, start: Start) -> int | None:
        """Return the port that an engine started so listens at; None where it gives one that is none."""
        given = start.value(self.ports)
        if given is None and (address := start.value(self.address)) is not None:
            tail = address.strip().rstrip("/").rpartition(":")[2]
            given = tail if tail.isascii() and tail.isdigit() else None
        if given is None:
            return self.port
        return port_of(given)

    def base_path(self, start: Start) -> str:
        """Return the path that its pages are below, empty by default."""
        given = (start.value(self.prefix) or "").strip("/")
        return f"/{given}" if re.fullmatch(r"[\w.~/-]+", given, re.ASCII) else ""


def port_of(text: str) -> int | None:
    """Return the port that ``text`` is, None where it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_LARGEST_PORT))):
        return None
    return int(text) if 0 < int(text) <= _LARGEST_PORT else None


def image_path(image: str) -> str:
    """Return the path of ``image`` without tag and digest, such as ``ghcr.io/ggml-org/llama.cpp``."""
    path = image.partition("@")[0]
    head, colon, tail = path.rpartition(":")
    return head if colon and "/" not in tail else path


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return ``value`` where it is an object of JSON, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects in ``value`` where it is a list of JSON."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def as_count(value: Any) -> int | None:
    """Return ``value`` where it is a count."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 2**63 else None
