"""Backups as text for people."""

from __future__ import annotations

from collections.abc import Iterable

from aiidpd.cli.text import UNKNOWN, Document, Paint, counted, moment, plain, since, size, table


def backup_lines(document: Document, now: float) -> list[str]:
    """Return the last, the present and the next backup."""
    if not document["configured"]:
        return []
    lines = [f"{document['source']} to {document['target']}, {document['schedule']}"]
    good = [each for each in document["snapshots"] if not each["broken"]]
    whole = f"last good {since(document['last_success_at'], now)}"
    if document["snapshots"] or not document["reason"]:  # else the target may not have been read
        whole += f", {counted(len(good), 'snapshot')}"
    if document["next_run_at"] is not None:
        whole += f", next {since(document['next_run_at'], now)}"
    lines.append(whole)
    if document["running"]:
        run = document["running"]
        done = f"{size(run['bytes_done'])} of {size(run['bytes'])}"
        lines.append(f"now {run['phase']}: {run['files_done']} of {counted(run['files'], 'file')}, {done}")
        if run["paused"]:
            lines.append(f"it waits: {run['paused']}")
    last = document["last_run"]
    if last and not last["succeeded"]:
        lines.append(f"the last run failed {since(last['ended_at'], now)}: {last['error']}")
    return [plain(line) for line in lines]


def snapshot_table(snapshots: Iterable[Document], now: float, paint: Paint) -> list[str]:
    """Return the table of snapshots, the oldest first."""
    rows = [
        (
            each["id"],
            since(each["verified_at"], now) if not each["broken"] else UNKNOWN,
            str(each["files"]),
            size(each["bytes"]),
            size(each["copied_bytes"]),
            _state(each, now),
        )
        for each in snapshots
    ]
    head = ("SNAPSHOT", "READ BACK", "FILES", "SIZE", "ADDED", "STATE")
    return table(head, rows, paint, right="llrrr") if rows else []


def store_lines(document: Document, now: float, paint: Paint) -> list[str]:
    """Return what is known of the target as a whole."""
    store = document["store"]
    if store is None:
        return []
    room = f"{size(store['free'])} of {size(store['room'])} free"
    lines = [f"{size(store['unique_bytes'])} stored, {room} in {document['target']}"]
    if store["oldest_proof"] is not None:
        age = since(min(store["oldest_proof"], now - 1.0), now).removesuffix(" ago")
        lines.append(f"each content was read back within {age}")
    if store["unverified_bytes"]:
        lines.append(f"{size(store['unverified_bytes'])} were never read back yet")
    restored = document["last_restored_at"]
    if restored is not None:
        lines.append(f"a restore was last proven to work {since(restored, now)}")
    bad = [f"{counted(store['damaged'], 'content')} damaged"] if store["damaged"] else []
    if store["rotten_total"]:
        names = ", ".join(list(store["rotten"])[:3])
        bad.append(f"{counted(store['rotten_total'], 'file')} of the source rotten: {names}")
    bad += store["problems"]
    return [plain(line) for line in lines] + [paint.bad(plain(line)) for line in bad]


def snapshot_lines(document: Document, snapshot: Document, now: float, paint: Paint) -> list[str]:
    """Return all that is known of one snapshot."""
    folder = f"{document['target']}/snapshots/{snapshot['id']}"
    rows = [
        ("snapshot", snapshot["id"]),
        ("folder", folder),
        ("source", snapshot["source"]),
        ("made", f"{moment(snapshot['created_at'])} ({since(snapshot['created_at'], now)})"),
        ("files", f"{snapshot['files']}, {size(snapshot['bytes'])}"),
        ("added", f"{counted(snapshot['copied_files'], 'file')}, {size(snapshot['copied_bytes'])}"),
        ("shared", f"{counted(snapshot['linked_files'], 'file')}, {size(snapshot['linked_bytes'])}"),
        ("read back", _read_back(snapshot, now)),
        ("state", _state(snapshot, now)),
    ]
    if snapshot["confirmed_at"] is not None:
        rows.append(("source unchanged", since(snapshot["confirmed_at"], now)))
    if snapshot["pinned"]:
        rows.append(("pinned", snapshot["pinned"]))
    wide = max(len(name) for name, _ in rows)
    return [paint.bold(plain(f"{name:<{wide}}")) + f"  {plain(text)}" for name, text in rows]


def _read_back(snapshot: Document, now: float) -> str:
    if snapshot["verified_at"] is not None:
        return f"all of it, the least recent {since(snapshot['verified_at'], now)}"
    return f"{size(snapshot['unverified_bytes'])} never yet"


def _state(snapshot: Document, now: float) -> str:
    if snapshot["broken"]:
        return f"BROKEN: {snapshot['broken']}"
    parts = ["whole"]
    if snapshot["damaged"]:
        parts = [f"DAMAGED: {counted(snapshot['damaged'], 'content')}"]
    if snapshot["left_out"]:
        parts.append(f"{snapshot['left_out']} left out")
    if snapshot["in_future"]:
        parts.append("FROM THE FUTURE: a wrong clock named it")
    if snapshot["pinned"]:
        parts.append("pinned")
    if snapshot["confirmed_at"] is not None:
        parts.append(f"unchanged {since(snapshot['confirmed_at'], now)}")
    return ", ".join(parts)
