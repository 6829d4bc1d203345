"""Containers as text for people."""

from __future__ import annotations

from collections import Counter

from aiidpd.cli.text import UNKNOWN, Document, Paint, moment, plain, since, table


def container_table(document: Document, now: float, paint: Paint, *, most: int | None = None) -> list[str]:
    """Return the table of containers, at most ``most`` of them: those that need a look first."""
    order = sorted(document["containers"], key=lambda each: (is_calm(each), each["name"]))
    rows = [
        (
            each["name"],
            each["state"] if each["exit_code"] is None else f"{each['state']} ({each['exit_code']})",
            each["health"] or UNKNOWN,
            since(each["started_at"] if each["state"] == "running" else each["finished_at"], now),
            str(each["restart_count"]),
            "yes" if each["gpu"] else "",
            each["image"],
        )
        for each in order[:most]
    ]
    head = ("CONTAINER", "STATE", "HEALTH", "SINCE", "RESTARTS", "GPU", "IMAGE")
    lines = table(head, rows, paint, right="llllr") if rows else []
    if len(order) > len(rows):
        lines.append(paint.dim(f"and {len(order) - len(rows)} more: aiidpctl containers list"))
    for each in order:
        if each.get("pause"):
            until = f"until {moment(each['pause']['until'])} at the latest"
            text = f"{each['name']}: paused by aiidpd because {each['pause']['gpu']} is hot; {until}"
            lines.append(paint.warn(plain(text)))
    for each in document["unreadable"]:
        lines.append(paint.bad(plain(f"{each['name']} ({each['id'][:12]}): can't be read")))
    return lines


def count_states(document: Document) -> str:
    """Return how many containers are in each state."""
    counts = Counter(each["state"] for each in document["containers"])
    return ", ".join(f"{count} {plain(state)}" for state, count in sorted(counts.items()))


def is_calm(container: Document) -> bool:
    """Return whether a container runs and no health check complains."""
    return container["state"] == "running" and container["health"] in (None, "healthy")
