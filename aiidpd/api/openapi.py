"""Description of the API for machines (OpenAPI 3.1) and for people, from the table of routes."""

from __future__ import annotations

import ast
import inspect
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from http import HTTPStatus
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from aiidpd.api.access import Access
from aiidpd.api.document import Document, ProblemDocument, Request, adapter, field_names
from aiidpd.api.route import Route
from aiidpd.platform.problem import MEDIA_TYPE as PROBLEM

PATH = "/v1/openapi.json"
NDJSON = "application/x-ndjson"

# Two threads that parse at once spoil each other's count of depth (CPython before 3.11.5, 106905).
_PARSER = threading.Lock()
_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"{(\w+)}")


def describe(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Return the OpenAPI document for ``routes``."""
    routes = tuple(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    paths[PATH] = {
        "get": {
            "operationId": "getV1OpenapiJson",
            "summary": "This description.",
            "x-access": Access.READ,
            "responses": {
                "200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}},
                "default": _problem(),
            },
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aiidpd control",
            "version": version,
            "description": "HTTP on the daemon's Unix socket. Times are Unix seconds, durations seconds.",
        },
        "servers": [{"url": "http://localhost", "description": "the Unix socket"}],
        "paths": paths,
        "components": {"schemas": _schemas(routes)},
    }


def table(routes: Iterable[Route]) -> str:
    """Return the routes as a Markdown table."""
    rows = ["| request | who | answer | what |", "| --- | --- | --- | --- |"]
    for route in routes:
        who = "group" if route.access is Access.READ else "admins"
        options = ", ".join(f"`{name}`" for model in _requests(route) for name in field_names(model))
        answer = f"{int(route.status)} {route.answer.__name__.removesuffix('Document')}"
        what = f"{route.summary} Takes {options}." if options else route.summary
        rows.append(f"| `{route.name}` | {who} | {answer} | {what} |")
    rows.append(f"| `GET {PATH}` | group | 200 OpenAPI 3.1 | This table for machines, with every type. |")
    return "\n".join(rows) + "\n"


def _operation(route: Route) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _ref(route.answer)}}
    if route.lines:
        content[NDJSON] = {"schema": {"oneOf": [_ref(line) for line in route.lines]}}
    operation: dict[str, Any] = {
        "operationId": route.method.lower() + "".join(map(str.title, re.findall(r"\w+", route.path))),
        "summary": route.summary,
        "x-access": route.access,
        "parameters": [*_parameters(route)],
        "responses": {
            str(int(route.status)): {"description": HTTPStatus(route.status).phrase, "content": content},
            "default": _problem(),
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": _ref(route.body)}}}
    return operation


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    query = adapter(route.query).json_schema(schema_generator=_Schemas)
    for name, schema in query.get("properties", {}).items():
        about = schema.pop("description", "")
        yield {"name": name, "in": "query", "required": False, "description": about, "schema": schema}


def _requests(route: Route) -> list[type[Request]]:
    return [model for model in (route.query, route.body) if model is not None]


def _problem() -> dict[str, Any]:
    return {"description": "What went wrong.", "content": {PROBLEM: {"schema": _ref(ProblemDocument)}}}


def _ref(model: type[Document]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _schemas(routes: tuple[Route, ...]) -> dict[str, Any]:
    given: set[type[Document]] = set()
    # A problem is no answer of a route, and may lack what has a default.
    taken: set[type[Document]] = {ProblemDocument}
    for route in routes:
        given |= {route.answer, *route.lines}
        taken |= {route.body} if route.body else set()
    modes: list[tuple[type[Document], JsonSchemaMode]] = [(model, "serialization") for model in given]
    modes += [(model, "validation") for model in taken]
    modes.sort(key=lambda each: each[0].__name__)
    inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (model.__name__, mode, adapter(model)) for model, mode in modes
    ]
    _, schemas = TypeAdapter.json_schemas(inputs, ref_template=_REF, schema_generator=_Schemas)
    _tree.cache_clear()  # megabytes, of which nobody needs more
    found: dict[str, Any] = schemas["$defs"]
    return found


class _Schemas(GenerateJsonSchema):
    """Schemas whose descriptions are the docstrings under the fields, those of base classes too.

    pydantic can take such docstrings itself, but not those of base classes, and whenever it makes an
    adapter: to read the source of some forty classes would make the daemon's start 0.1 s longer.
    """

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        kind: Any = schema["cls"]
        made = super().dataclass_schema(schema)
        if "description" in made:
            made["description"] = _for_readers(made["description"])
        properties: dict[str, Any] = made.get("properties", {})
        for name, text in _descriptions(kind).items():
            if name in properties:
                properties[name]["description"] = text
        if self.mode == "serialization" and properties:
            # An answer has every member, whatever its class lets its maker leave out.
            made["required"] = list(properties)
            for each in properties.values():
                each.pop("default", None)
        return made


def _for_readers(docstring: str) -> str:
    """Return ``docstring`` for people who know JSON and not this code."""
    return re.sub(r"\bNone\b", "null", re.sub(r":\w+:`[.~]*([^`]*)`", r"\1", docstring))


@cache
def _descriptions(kind: Any) -> Mapping[str, str]:
    """Return the docstrings under the fields of ``kind`` and of its base classes, by field."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        body = _class_body(each)
        for field, text in pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                found[field.target.id] = " ".join(text.value.value.split())
    return found


def _class_body(kind: type) -> list[ast.stmt]:
    """Return the statements of the class ``kind``, none where its source is not known."""
    module = inspect.getmodule(kind)
    if module is None:
        return []
    with _PARSER:
        tree = _tree(inspect.getsource(module))
    return next(
        (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__), []
    )


@cache
def _tree(source: str) -> ast.Module:
    return ast.parse(source)
