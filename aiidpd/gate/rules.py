"""Allow-list of the gate: one row for each call of the Docker API that it lets through (pure).

What no row lets through is refused. A row names the keys of its query and the form of each value; the call
is written anew from what the row has matched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from aiidpd.gate.message import Request, target_of
from aiidpd.gate.reference import canonical
from aiidpd.gate.settings import RECREATE, UPGRADE

COPY: Final = "copy"
IMAGE: Final = "image"
PULL: Final = "pull"
RENAME: Final = "rename"
REMOVE: Final = "remove"
STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    COPY: (RECREATE,),
    IMAGE: (UPGRADE,),
    PULL: (UPGRADE,),
    RENAME: (RECREATE, UPGRADE),
    REMOVE: (RECREATE, UPGRADE),
}
"""Acts that are steps of a re-creation, or of a trial of an image, and what permits them."""

_LONGEST_FILTERS: Final = 8192
_LONGEST_REFERENCE: Final = 512
_MOST_SECONDS: Final = 3600


class Access(Enum):
    """Kind of a call."""

    READ = auto()
    ACT = auto()
    """It changes a container, which configuration or labels must name."""


class Refusal(Exception):
    """A call that is not let through; its text is the reason."""


Check = Callable[[str], str | None]
"""Returns the canonical form of a value, None for one that is not let through."""


class Call(NamedTuple):
    """Row of the table. ``follows``: key and values of a query with which the answer has no end."""

    method: str
    path: str
    access: Access = Access.READ
    query: Mapping[str, Check] = {}
    verb: str = ""
    follows: Callable[[Mapping[str, str]], bool] | None = None


class Matched(NamedTuple):
    """A call that is let through, an act subject to permission. ``within`` seconds beside the engine's own.

    ``container`` is what the caller named; ``endless``: the answer ends when somebody ends it.
    """

    method: str
    access: Access
    version: str
    path: str
    query: tuple[tuple[str, str], ...]
    container: str = ""
    verb: str = ""
    endless: bool = False
    within: float = 0.0

    @property
    def target(self) -> str:
        """Target as it is sent."""
        return target_of(self.version + self.path, self.query)

    @property
    def name(self) -> str:
        """Name that the act is to give to a container."""
        return dict(self.query).get("name", "")

    @property
    def image(self) -> str:
        """Image that the act is about."""
        return dict(self.query).get("image", "")

    def target_for(self, identity: str) -> str:
        """Target of the same act on the container with this whole id."""
        suffix = "" if self.verb == REMOVE else f"/{self.verb}"
        return target_of(f"{self.version}/containers/{identity}{suffix}", self.query)


def _pattern(text: str) -> Check:
    compiled = re.compile(text, re.ASCII)
    return lambda value: value if compiled.fullmatch(value) else None


def _filters(value: str) -> str | None:
    """Return filters, an object of lists of texts (or of texts to true), written anew."""
    if len(value) > _LONGEST_FILTERS:
        return None
    try:
        found = json.loads(value, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not all(_is_filter(each) for each in found.values()):
        return None
    return json.dumps(found, separators=(",", ":"))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _is_filter(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str) for each in value)
    return isinstance(value, dict) and all(each is True for each in value.values())


def _seconds(value: str) -> str | None:
    digits = value.isascii() and value.isdigit() and len(value) <= 4  # noqa: PLR2004 -- digits
    return str(int(value)) if digits and int(value) <= _MOST_SECONDS else None


_NAME: Final = "[A-Za-z0-9][A-Za-z0-9_.-]{0,254}"
_FLAG: Final = _pattern("0|1|true|false|True|False")
_NUMBER: Final = _pattern("[0-9]{1,6}")
_TIME: Final = _pattern(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
_TAIL: Final = _pattern("all|[0-9]{1,7}")
_SIGNAL: Final = _pattern("(SIG)?(KILL|TERM|INT|QUIT|HUP|ABRT|USR1|USR2)")
_GRACE: Final[Mapping[str, Check]] = {"t": _seconds}
_TRUE: Final = ("1", "true", "True")


def _followed(query: Mapping[str, str]) -> bool:
    return query.get("follow", "0") in _TRUE


TABLE: Final = (
    Call("GET", "/_ping"),
    Call("HEAD", "/_ping"),
    Call("GET", "/version"),
    Call("GET", "/info"),
    Call(
        "GET",
        "/events",
        query={"since": _TIME, "until": _TIME, "filters": _filters},
        follows=lambda query: "until" not in query,
    ),
    Call(
        "GET",
        "/containers/json",
        query={"all": _FLAG, "limit": _NUMBER, "size": _FLAG, "filters": _filters},
    ),
    Call("GET", "/containers/{container}/json", query={"size": _FLAG}),
    Call(
        "GET",
        "/containers/{container}/logs",
        query=dict.fromkeys(("stdout", "stderr", "timestamps", "details", "follow"), _FLAG)
        | {"since": _TIME, "until": _TIME, "tail": _TAIL},
        follows=_followed,
    ),
    Call(
        "GET",
        "/containers/{container}/stats",
        query={"stream": _FLAG, "one-shot": _FLAG},
        follows=lambda query: query.get("stream", "1") in _TRUE,
    ),
    # Who heals must see whether a person works in the container: it reads which commands run there.
    Call("GET", "/exec/{exec}/json"),
    # Who creates a container anew must see what it would lose.
    Call("GET", "/containers/{container}/changes"),
    Call("GET", "/volumes/{volume}"),
    Call("GET", "/images/json", query={"all": _FLAG, "digests": _FLAG, "filters": _filters}),
    Call("GET", "/images/{image}/json"),
    Call("GET", "/networks", query={"filters": _filters}),
    Call("GET", "/networks/{network}", query={"verbose": _FLAG}),
    Call("POST", "/containers/{container}/start", Access.ACT, verb="start"),
    Call("POST", "/containers/{container}/stop", Access.ACT, _GRACE, "stop"),
    Call("POST", "/containers/{container}/restart", Access.ACT, _GRACE, "restart"),
    Call("POST", "/containers/{container}/kill", Access.ACT, {"signal": _SIGNAL}, "kill"),
    Call("POST", "/containers/{container}/pause", Access.ACT, verb="pause"),
    Call("POST", "/containers/{container}/unpause", Access.ACT, verb="unpause"),
    # Steps of a re-creation, see recreation.py. The gate's own calls, without a body: a copy of a container,
    # the same of another image (without a name: may it be?), and that image from its registry.
    Call("POST", "/aiidpd/copies/{container}", Access.ACT, {"name": _pattern(_NAME)}, COPY),
    Call(
        "POST",
        "/aiidpd/images/{container}",
        Access.ACT,
        {"name": _pattern(_NAME), "image": canonical},
        IMAGE,
    ),
    Call("POST", "/aiidpd/pulls/{container}", Access.ACT, {"image": canonical}, PULL),
    Call("POST", "/containers/{container}/rename", Access.ACT, {"name": _pattern(_NAME)}, RENAME),
    Call("DELETE", "/containers/{container}", Access.ACT, verb=REMOVE),
)
VERBS: Final = tuple(each.verb for each in TABLE if each.access is Access.ACT)
"""Acts on a container."""

_PARTS: Final = {
    "{container}": f"(?P<container>{_NAME})",
    "{network}": _NAME,
    "{volume}": _NAME,
    "{exec}": "[0-9a-f]{64}",
    "{image}": "[A-Za-z0-9][A-Za-z0-9_.:@-]*(?:/[A-Za-z0-9_.:@-]+)*",
}
_VERSION: Final = re.compile(r"(/v1\.(?:2[4-9]|[3-9][0-9]))?(/.+)", re.ASCII)


def _compiled(path: str) -> re.Pattern[str]:
    parts = (_PARTS.get(each, re.escape(each)) for each in re.split(r"(\{[a-z]+\})", path))
    return re.compile("".join(parts), re.ASCII)


_COMPILED: Final = tuple((each, _compiled(each.path)) for each in TABLE)
_REASONS: Final = (
    (
        re.compile("/containers/create"),
        "containers are created through the gate under no condition: whoever says how has the whole machine",
    ),
    (re.compile("/containers/[^/]+/update"), "a container is not changed through the gate"),
    (re.compile("/containers/[^/]+/(exec|attach|archive)|/exec/.*"), "nothing gets into a container"),
    (
        re.compile("/images/create|/build|/commit|/images/load"),
        "images are not made, and fetched for a container that is named alone",
    ),
)


def match(request: Request) -> Matched:
    """Return the call that the request is let through as. Raises Refusal."""
    found = _VERSION.fullmatch(request.path)
    if found is None or len(request.path) > _LONGEST_REFERENCE:
        raise Refusal("it is no call of the API")
    version, path = found[1] or "", found[2]
    for call, pattern in _COMPILED:
        matched = pattern.fullmatch(path)
        if matched is None or call.method != request.method:
            continue
        query = _checked(call, request.query)
        container = matched.groupdict().get("container", "")
        return Matched(
            call.method,
            call.access,
            version,
            path,
            tuple(query.items()),
            container,
            call.verb,
            call.follows is not None and call.follows(query),
            float(query.get("t", 10)) if call.verb else 0.0,
        )
    reason = next((text for pattern, text in _REASONS if pattern.fullmatch(path)), "")
    raise Refusal(reason or "it is not among the calls that are let through")


def _checked(call: Call, given: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the query in the order of the table. Raises Refusal."""
    found: dict[str, str] = {}
    for key, value in given:
        check = call.query.get(key)
        if check is None:
            raise Refusal(f"the key {key} is not let through here")
        canonical = check(value)
        if canonical is None:
            raise Refusal(f"the value of {key} is not let through")
        found[key] = canonical
    return {key: found[key] for key in call.query if key in found}
