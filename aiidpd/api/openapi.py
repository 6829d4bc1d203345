"""The description of the API for machines (OpenAPI 3.1) and for people, from the table of routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from aiidpd.api.access import Access
from aiidpd.api.document import Document, ProblemDocument, Request
from aiidpd.api.route import Route
from aiidpd.platform.problem import MEDIA_TYPE as PROBLEM

PATH = "/v1/openapi.json"
NDJSON = "application/x-ndjson"

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
        options = ", ".join(f"`{name}`" for model in _requests(route) for name in model.model_fields)
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
    for name, schema in route.query.model_json_schema().get("properties", {}).items():
        about = schema.pop("description", "")
        yield {"name": name, "in": "query", "required": False, "description": about, "schema": schema}


def _requests(route: Route) -> list[type[Request]]:
    return [model for model in (route.query, route.body) if model is not None]


def _problem() -> dict[str, Any]:
    return {"description": "What went wrong.", "content": {PROBLEM: {"schema": _ref(ProblemDocument)}}}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _schemas(routes: tuple[Route, ...]) -> dict[str, Any]:
    given: set[type[Document]] = {ProblemDocument}
    taken: set[type[Request]] = set()
    for route in routes:
        given |= {route.answer, *route.lines}
        taken |= {route.body} if route.body else set()
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "serialization") for model in given]
    modes += [(model, "validation") for model in taken]
    _, schemas = models_json_schema(
        sorted(modes, key=lambda each: each[0].__name__),
        ref_template=_REF,
    )
    found: dict[str, Any] = schemas["$defs"]
    return found
