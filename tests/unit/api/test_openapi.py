from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiidpd.api import openapi
from aiidpd.api.access import Access
from aiidpd.api.document import field_names
from aiidpd.daemon.reference import every_route
from tests.fakes.control_fixtures import Asker

ROUTES = every_route()
DOCUMENT = openapi.describe(ROUTES, "1.2.3")
DOCS = Path(__file__).resolve().parents[3] / "docs" / "control.md"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_route_is_described_and_nothing_else() -> None:
    described = {
        f"{method.upper()} {path}" for path, operations in DOCUMENT["paths"].items() for method in operations
    }
    assert described == {route.name for route in ROUTES} | {f"GET {openapi.PATH}"}


def test_the_document_has_the_form_of_openapi_3_1() -> None:
    assert re.fullmatch(r"3\.1\.\d+", DOCUMENT["openapi"])
    assert set(DOCUMENT["info"]) >= {"title", "version"}
    names = set()
    for path, operations in DOCUMENT["paths"].items():
        assert path.startswith("/v1/")
        for operation in operations.values():
            names.add(operation["operationId"])
            assert operation["summary"].endswith(".")
            assert operation["x-access"] in set(Access)
            assert "default" in operation["responses"]
            parameters = operation.get("parameters", [])
            in_path = {each["name"] for each in parameters if each["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))
            assert all(each["schema"] for each in parameters)
            assert len({(each["in"], each["name"]) for each in parameters}) == len(parameters)
    assert len(names) == len(ROUTES) + 1


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    found = {reference.removeprefix("#/components/schemas/") for reference in references(DOCUMENT)}
    assert found == set(DOCUMENT["components"]["schemas"])


def test_changes_and_only_changes_are_posts() -> None:
    assert all((route.method == "POST") == (route.access is Access.CHANGE) for route in ROUTES)
    assert all((route.method == "POST") == (route.body is not None) for route in ROUTES)


def test_types_say_what_is_null_and_what_is_refused() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["GpuReading"]["properties"]["power_watts"]["anyOf"] == [
        {"type": "number"},
        {"type": "null"},
    ]
    assert schemas["BenchRequest"]["additionalProperties"] is False
    assert "debug" in schemas["EventDocument"]["properties"]["severity"]["enum"]


async def test_the_daemon_gives_it(asker: Asker) -> None:
    assert await asker.get(openapi.PATH) == json.loads(json.dumps(DOCUMENT))


def test_the_manual_has_the_table_of_routes() -> None:
    text = DOCS.read_text()
    assert openapi.table(ROUTES) in text, f"put this into {DOCS.name}:\n{openapi.table(ROUTES)}"


def test_what_the_daemon_answers_is_what_it_describes() -> None:
    # The required members of each answer are those that the model has: nothing is left out when written.
    for route in ROUTES:
        described = DOCUMENT["components"]["schemas"][route.answer.__name__]
        assert set(described["properties"]) == set(field_names(route.answer))
        assert set(described["required"]) == set(described["properties"])


def test_two_who_want_it_at_once_both_get_it() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: openapi.describe(ROUTES, "1"), range(16)))
    assert all(each == found[0] for each in found)
