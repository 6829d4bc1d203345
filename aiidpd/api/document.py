"""Documents of the control API: frozen dataclasses, of which pydantic makes validation and JSON.

A component's own view is its document where scripts should see all of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar, Final, Literal, Protocol, TypeAlias, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticSerializationError

from aiidpd.kernel.events import Severity
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import WorkerStatus

SeverityName = Literal["debug", "info", "warning", "error"]
SEVERITIES: Final[Mapping[SeverityName, Severity]] = {
    "debug": Severity.DEBUG,
    "info": Severity.INFO,
    "warning": Severity.WARNING,
    "error": Severity.ERROR,
}
_NAMES: Final = {severity: name for name, severity in SEVERITIES.items()}
Scalar = str | int | float | bool | None


class Document(Protocol):
    """A dataclass that the daemon gives; its field docstrings are the descriptions in OpenAPI.

    Mappings in it are plain dictionaries.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Request:
    """Base of what the daemon takes: a key that is not foreseen is refused."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class NoOptions(Request):
    """No options."""


def bounded(
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    max_length: int | None = None,
) -> Any:
    """Return the bounds of a field of a request, for ``Annotated``: of a number, or of a text's length."""
    return Field(ge=ge, gt=gt, le=le, max_length=max_length)


@dataclass(frozen=True, slots=True)
class SnapshotResponse:
    """Base of the documents that show a component's last reading."""

    read_at: float | None
    """Time of the reading; null where there is no current one."""
    reason: str
    """Why there is no reading, or what is wrong; empty where all is well."""
    simulated: bool


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A line of a stream in which nothing happened for a while: the daemon is still there."""

    heartbeat: float
    """Time of the daemon, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class ProblemDocument:
    """An error (RFC 9457). The members after ``detail`` are given where aiidpd's own rules speak."""

    type: str
    title: str
    status: int
    detail: str
    action: str = ""
    subject: str = ""
    reason: str = ""
    remedy: str = ""


T = TypeVar("T")
DocumentT = TypeVar("DocumentT", bound=Document)
ResponseT = TypeVar("ResponseT", bound=SnapshotResponse)


_ADAPTERS: Final[dict[type[Any], TypeAdapter[Any]]] = {}
_FIELDS: Final[dict[type[Any], tuple[str, ...]]] = {}
_Plan: TypeAlias = tuple[Callable[[object], Iterable[Any]], tuple[tuple[int, str], ...]]
_PLANS: Final[dict[tuple[Any, ...], _Plan]] = {}  # loops over names would take twice the time


def adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Return what validates, writes and describes ``kind``; made once, which takes milliseconds."""
    made = _ADAPTERS.get(kind)
    if made is None:
        made = _ADAPTERS[kind] = TypeAdapter(kind)
    return made


def parse(kind: type[T], given: object) -> T:
    """Return ``given``, of dictionaries and lists, as ``kind``; raises :class:`pydantic.ValidationError`."""
    parsed: T = adapter(kind).validate_python(given)
    return parsed


def to_json(document: Document, *, exclude_defaults: bool = False) -> bytes:
    """Return ``document`` as JSON, without the fields that have their default if ``exclude_defaults``.

    Text that is no Unicode, such as the name of a file in another encoding, is written with escapes: one such
    name must not keep anybody from the whole answer.
    """
    dumps = adapter(type(document))
    try:
        return dumps.dump_json(document, exclude_defaults=exclude_defaults)
    except PydanticSerializationError:
        found = dumps.dump_python(document, mode="json", exclude_defaults=exclude_defaults)
        return json.dumps(_readable(found), ensure_ascii=False, separators=(",", ":")).encode()


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_readable(key): _readable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_readable(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def severity_name(severity: Severity) -> SeverityName:
    """Return the name of ``severity`` in documents."""
    return _NAMES[severity]


def field_names(kind: type[Document]) -> tuple[str, ...]:
    """Return the names of the fields of ``kind``, in their order."""
    names = _FIELDS.get(kind)
    if names is None:
        names = _FIELDS[kind] = tuple(each.name for each in fields(kind))
    return names


def document_of(kind: type[DocumentT], source: object, **given: Any) -> DocumentT:
    """Return the document ``kind`` with the fields ``given``, the others taken from ``source``."""
    plan = _PLANS.get((kind, *given))
    if plan is None:
        plan = _PLANS[(kind, *given)] = _plan(kind, given)
    read, places = plan
    values = [*read(source)]
    for place, name in places:
        values.insert(place, given[name])
    return kind(*values)


def _plan(kind: type[Document], given: Mapping[str, Any]) -> _Plan:
    """Return what reads the fields of ``kind`` that are not ``given``, and the places of those that are."""
    names = field_names(kind)
    own = [name for name in names if name not in given]
    places = tuple(sorted((names.index(name), name) for name in given))
    # Of a single name an attrgetter gives no tuple.
    read = attrgetter(*own) if len(own) > 1 else lambda source: [getattr(source, name) for name in own]
    return read, places


def current(
    kind: type[ResponseT], reading: Reading[Any] | None, status: WorkerStatus, **given: Any
) -> ResponseT:
    """Return the document of ``reading``, with the reason of the task's ``status`` where there is none.

    What neither ``given`` nor the status has is taken from the attributes of the reading's value.
    """
    reason = status.reason
    if reading is None and not reason:
        reason = (
            f"worker {status.name} is {status.state}: no reading yet, or the last one is too old to be true"
        )
    if reading is None:
        common: dict[str, Any] = {"read_at": None, "reason": reason, "simulated": status.simulated}
        return kind(**(common | given))
    simulated = getattr(reading.value, "simulated", status.simulated)
    common = {"read_at": reading.at, "reason": reason, "simulated": simulated}
    return document_of(kind, reading.value, **(common | given))
