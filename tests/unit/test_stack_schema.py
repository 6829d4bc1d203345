"""The shipped stack against the Compose Specification's own schema."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from tests.stack import stack

SCHEMA = Path(__file__).resolve().parents[1] / "data" / "compose-spec" / "compose-spec.json"


def closed(node: Any, definitions: dict[str, Any]) -> Any:
    """Return a schema whose parts that say ``unevaluatedProperties: false`` name all of their properties.

    The validator knows draft 7, in which that word means nothing, so that it would let any key pass.
    """
    if isinstance(node, list):
        return [closed(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("unevaluatedProperties") is not False:
        return {key: closed(each, definitions) for key, each in node.items()}
    properties: dict[str, Any] = {}
    patterns: dict[str, Any] = {}
    for part in (*(definitions[each["$ref"].rpartition("/")[2]] for each in node["allOf"]), node):
        assert set(part) <= {
            *("type", "properties", "patternProperties", "description"),
            *("additionalProperties", "unevaluatedProperties", "allOf", "required"),
        }
        properties |= part.get("properties", {})
        patterns |= part.get("patternProperties", {})
    return {
        "type": "object",
        "properties": closed(properties, definitions),
        "patternProperties": closed(patterns, definitions),
        "additionalProperties": False,
    }


@pytest.fixture(scope="module")
def validate() -> Callable[[dict[str, Any]], object]:
    schema = json.loads(SCHEMA.read_text())
    found: Callable[[dict[str, Any]], object] = fastjsonschema.compile(closed(schema, schema["$defs"]))
    return found


def test_the_stack_is_one_of_the_specification(validate: Callable[[dict[str, Any]], object]) -> None:
    validate(stack())
    assert "name" not in stack()  # docker-compose 1.29 does not know it


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("vllm-gpu", "read_onl", True),
        ("vllm-gpu", "read_only", []),
        ("vllm-gpu", "cap_drop", "ALL"),
        ("vllm-gpu", "pids_limit", {}),
        ("llamacpp-cpu", "healthcheck", {"tests": []}),
        ("llamacpp-70b", "deploy", {"resources": {"reservations": {"device": []}}}),
        ("prometheus", "logging", {"option": {}}),
        ("grafana", "secrets", [{"from": "grafana-admin"}]),
    ],
)
def test_a_slip_is_no_stack(
    validate: Callable[[dict[str, Any]], object], service: str, key: str, value: object
) -> None:
    wrong = copy.deepcopy(stack())
    wrong["services"][service][key] = value
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        validate(wrong)
