"""Repositories as text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiidpd.cli.text import UNKNOWN, Document, Paint, plain, since, size, table


def repository_lines(document: Document, now: float, paint: Paint) -> list[str]:
    """Return the table of repositories, and a line for each thing that is wrong."""
    rows = [_row(each, now, document["newest"]) for each in document["repositories"]]
    head = ("REPOSITORY", "ENGINE", "SNAPSHOT", "SENT", "NEW", "SIZE", "VERIFIED", "ALL READ", "STATE")
    lines = table(head, rows, paint, right="llllrrlll") if rows else []
    for each in document["repositories"]:
        if each["damage"]:
            lines.append(plain(f"{each['name']}: DAMAGED: {each['damage']}"))
        if each["error"]:
            lines.append(plain(f"{each['name']}: failed {since(each['failed_at'], now)}: {each['error']}"))
    return lines


def _row(each: Document, now: float, newest: str) -> tuple[str, ...]:
    return (
        each["name"],
        each["engine"],
        each["snapshot"] or UNKNOWN,
        since(each["succeeded_at"], now),
        UNKNOWN if each["new_bytes"] is None else size(each["new_bytes"]),
        UNKNOWN if each["bytes"] is None else size(each["bytes"]),
        since(each["verified_at"], now),
        since(each["covered_at"], now)
        if each["covered_at"]
        else f"{each['parts_read']} of {each['parts']} parts",
        _state(each, newest),
    )


def _state(each: Document, newest: str) -> str:
    if each["running"]:
        running = each["running"]
        done = f" {size(running['bytes_done'])} of {size(running['bytes'])}" if running["bytes"] else ""
        return f"{running['act']}{done}"
    for key, word in (("damage", "DAMAGED"), ("error", "FAILED")):
        if each[key]:
            return word
    if each["overdue"]:
        return "OVERDUE"
    if not each["snapshot"]:
        return "nothing sent yet"
    return "up to date" if each["snapshot"] == newest else "behind"


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what came of a job with a repository."""
    lines = []
    if "snapshot" in result:
        rate = result.get("new_bytes_per_second")
        speed = f" at {size(rate)}/s" if rate else ""
        lines.append(
            f"snapshot {result['snapshot']} is there as {result['stored_as']}: {result['files']} files, "
            f"{size(result['bytes'])}, of which {size(result['new_bytes'])} are new{speed}"
        )
    if "verified" in result:
        read = f"{result['verified']} of {result['verified_of']} {result['verified_unit']}"
        lines.append(f"{read} read back in {result['verify_seconds']:.1f} s, all well")
    if "to" in result:
        proven = "each proven by its SHA-256" if result["proven"] else "without checksums to prove them by"
        lines.append(f"{result['to']} holds {result['files']} files, {size(result['bytes'])}, {proven}")
    return [plain(line) for line in lines]
