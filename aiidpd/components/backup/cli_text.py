"""Backups as text for people."""

from __future__ import annotations

from aiidpd.cli.text import UNKNOWN, Document, Paint, counted, plain, since, size, table


def backup_lines(document: Document, now: float) -> list[str]:
    """Return the last, the present and the next backup."""
    if not document["configured"]:
        return []
    lines = [f"{document['source']} to {document['target']}, {document['schedule']}"]
    good = [each for each in document["snapshots"] if not each["broken"]]
    whole = f"last verified {since(document['last_success_at'], now)}"
    if document["snapshots"] or not document["reason"]:  # else the target may not have been read
        whole += f", {counted(len(good), 'snapshot')}"
    if document["next_run_at"] is not None:
        whole += f", next {since(document['next_run_at'], now)}"
    lines.append(whole)
    if document["running"]:
        run = document["running"]
        done = f"{size(run['bytes_done'])} of {size(run['bytes'])}"
        lines.append(f"now {run['phase']}: {run['files_done']} of {counted(run['files'], 'file')}, {done}")
    last = document["last_run"]
    if last and not last["succeeded"]:
        lines.append(f"the last run failed {since(last['ended_at'], now)}: {last['error']}")
    return [plain(line) for line in lines]


def snapshot_table(document: Document, now: float, paint: Paint) -> list[str]:
    """Return the table of snapshots, the oldest first."""
    rows = [
        (
            each["id"],
            since(each["verified_at"], now) if not each["broken"] else UNKNOWN,
            str(each["files"]),
            size(each["bytes"]),
            size(each["copied_bytes"]),
            _snapshot_state(each),
        )
        for each in document["snapshots"]
    ]
    head = ("SNAPSHOT", "VERIFIED", "FILES", "SIZE", "ADDED", "STATE")
    return table(head, rows, paint, right="llrrr") if rows else []


def _snapshot_state(snapshot: Document) -> str:
    if snapshot["broken"]:
        return f"BROKEN: {snapshot['broken']}"
    return "whole, FROM THE FUTURE: a wrong clock named it" if snapshot.get("in_future") else "whole"
