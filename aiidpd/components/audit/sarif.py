"""Findings in SARIF 2.1.0, for whatever reads results of analyses (pure, the standard library alone)."""

from __future__ import annotations

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"low": "note", "medium": "warning", "high": "error", "critical": "error"}
_SCORES = {"low": "3.0", "medium": "5.5", "high": "8.0", "critical": "9.5"}


def sarif(findings: Iterable[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """Return the log of one run that found ``findings``; what is waived is suppressed in it."""
    findings = list(findings)
    described: dict[str, dict[str, Any]] = {}
    for each in findings:
        described.setdefault(each["rule"], _rule(each))
    order = {name: place for place, name in enumerate(described)}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "aiidpd", "version": version, "rules": [*described.values()]}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(each, order[each["rule"]]) for each in findings],
            }
        ],
    }


def _rule(each: Mapping[str, Any]) -> dict[str, Any]:
    tags = ["security"]
    if each["cis"]:
        tags.append(f"CIS-Docker-1.6-{each['cis']}")
    return {
        "id": each["rule"],
        "shortDescription": {"text": each["title"]},
        "fullDescription": {"text": each["why"]},
        "help": {"text": each["remedy"]},
        "properties": {"tags": tags, "security-severity": _SCORES[each["severity"]]},
    }


def _result(each: Mapping[str, Any], place: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": each["rule"],
        "ruleIndex": place,
        "level": _LEVELS[each["severity"]],
        "message": {
            "text": f"{each['subject']}: {each['what']}. {each['remedy'][:1].upper()}{each['remedy'][1:]}."
        },
        "locations": [_location(each)],
        "partialFingerprints": {
            "aiidpd/v1": f"{each['rule']}:{each['kind']}:{each['subject']}:{each['what']}"
        },
    }
    if each["waived"]:
        result["suppressions"] = [
            {
                "kind": "external",
                "status": "accepted",
                "justification": f"{each['waived']['reason']} (until {each['waived']['until']})",
            }
        ]
    return result


def _location(each: Mapping[str, Any]) -> dict[str, Any]:
    name = f"{each['kind']}/{each['subject']}"
    found: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": name, "kind": each["kind"]}]}
    if each["file"]:
        found["physicalLocation"] = {
            "artifactLocation": {"uri": _uri(each["file"])},
            "region": {"startLine": each["line"] or 1},
        }
    return found


def _uri(path: str) -> str:
    """Return ``path`` with what a URI may not hold written as bytes."""
    safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-~"
    parts = (
        one if one in safe else "".join(f"%{byte:02X}" for byte in one.encode(errors="replace"))
        for one in path
    )
    return ("file://" if path.startswith("/") else "") + "".join(parts)
