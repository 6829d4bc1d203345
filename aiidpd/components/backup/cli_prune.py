"""Prune of a target, done or planned, as text for people."""

from __future__ import annotations

from aiidpd.cli.text import Document, Paint, counted, plain, size

_WIDTH = 80  # columns, where the terminal names none
_INDENT = "    "


def prune_lines(result: Document, paint: Paint) -> list[str]:
    """Return each snapshot with why it stays or goes, then what is free; lines of 80 columns at most.

    ``result`` is a PruneResult as a document, of a dry run too; sizes in bytes.
    """
    width = paint.width or _WIDTH
    dry = result["dry_run"]
    lines: list[str] = []
    for each in result["decisions"]:
        lines += _decision(each, paint, width, dry=dry)
    hidden = result["snapshots"] - len(result["decisions"])
    if hidden:
        lines += _wrapped(f"{counted(hidden, 'older snapshot')} not shown", width)
    lines += [paint.bold(line) for line in _wrapped(_summary(result), width)]
    for note in _notes(result):
        lines += [paint.warn(line) for line in _wrapped(note, width)]
    return lines


def _decision(decision: Document, paint: Paint, width: int, *, dry: bool) -> list[str]:
    """Return a line about a snapshot, then one or more for each reason."""
    name = plain(decision["snapshot"])
    if decision["kept"]:
        head = f"{name}  stays"
    else:
        verb = "would go" if dry else "gone"
        head = f"{name}  {verb}, frees {size(decision['freed_bytes'])}"
    first = paint.dim if decision["kept"] else paint.warn
    lines = [first(line) for line in _wrapped(head, width)]
    for reason in decision["reasons"]:
        lines += _wrapped(f"{reason['rule'].replace('_', ' ')}: {reason['words']}", width, _INDENT)
    return lines


def _summary(result: Document) -> str:
    removed, dry = result["removed_total"], result["dry_run"]
    files, freed = result["freed_files"], size(result["freed_bytes"])
    if not result["snapshots"]:
        return "there are no snapshots"
    which = f"{removed} of {counted(result['snapshots'], 'snapshot')}"
    if not removed and not files:
        return f"{'nothing would go' if dry else 'nothing went'}: {counted(result['snapshots'], 'snapshot')}"
    if dry:
        return f"{which} would go and free {freed} in {counted(files, 'file')}; nothing was changed"
    return f"{which} removed, {freed} freed in {counted(files, 'file')}"


def _notes(result: Document) -> list[str]:
    """Return what else there is to know, in the order of its weight."""
    notes = []
    if result["source_unknown"]:
        notes.append(
            "nobody knows what the source has now, so all that its snapshots hold counts as still there: "
            + result["source_unknown"]
        )
    if result["excess"]:
        notes.append(result["excess"])
    if result["unknown_pins"]:
        notes.append(f"pins that name no snapshot: {', '.join(result['unknown_pins'])}")
    notes += result["problems"]
    if not result["shared"]:
        notes.append("the target has no hard links: each snapshot takes its whole room")
    if result["stale_files"]:
        verb = "would go" if result["dry_run"] else "removed"
        which = counted(result["stale_files"], "file")
        notes.append(
            f"{which} ({size(result['stale_bytes'])}) of interrupted copies and quarantine {verb}, "
            "untouched for 30 days"
        )
    return notes


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return ``text`` as lines of ``width`` columns at most, cut between words where that is possible."""
    lines: list[str] = []
    line = indent
    for word in plain(text).split(" "):
        rest = word
        if line.strip() and len(line) + 1 + len(rest) > width:
            lines.append(line)
            line = indent + "  "
        elif line.strip():
            rest = f" {rest}"
        line += rest
        while len(line) > width:
            lines.append(line[:width])
            line = indent + "  " + line[width:]
    return [*lines, line]
