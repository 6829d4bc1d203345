"""A route of the control API, and the call that its handler is given."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from aiidpd.api.access import Access
from aiidpd.api.document import Document, NoOptions, Request


@dataclass(frozen=True, slots=True)
class Call:
    """One request, understood: ``query`` and ``body`` are of the types that the route names.

    ``by`` names the user of a change.
    """

    path: Mapping[str, str]
    query: Any
    body: Any
    by: str = ""


Stream: TypeAlias = AsyncGenerator[Document, None]
"""The documents of a stream, which ends when the generator does, and is closed when nobody listens."""

Answer: TypeAlias = Document | Stream

Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table. ``lines`` are the documents of its stream, where it has one.

    ``summary`` is a sentence for the reference; braces in ``path`` name its parameters.
    """

    method: str
    path: str
    access: Access
    handler: Handler
    summary: str
    answer: type[Document]
    query: type[Request] = NoOptions
    body: type[Request] | None = None
    status: HTTPStatus = HTTPStatus.OK
    lines: tuple[type[Document], ...] = ()

    @property
    def name(self) -> str:
        """Method and the path, which identify it."""
        return f"{self.method} {self.path}"
