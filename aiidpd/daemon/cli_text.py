"""Whole daemon as text for people, of the documents that the control API gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiidpd.cli.text import SIMULATED, Document, Paint, cut, plain, since, span, table
from aiidpd.components.backup.cli_text import backup_lines
from aiidpd.components.bench.cli_text import bench_table
from aiidpd.components.containers.cli_text import container_table, count_states
from aiidpd.components.thermal.cli.text import gpu_table

_MANY = 12  # containers and snapshots that the overview lists before it only counts


def render_overview(
    status: Document,
    gpus: Document | None,
    containers: Document | None,
    backup: Document | None,
    bench: Document | None,
    *,
    paint: Paint,
    fit: bool = False,
    parts: bool = False,
) -> str:
    """Return the whole daemon as a block of lines; a section whose document is None is left out.

    A reason is shown once: with what is wrong, or else with the worker, or else with the section. With
    ``fit`` every line that is longer than the width of ``paint`` is cut, not only those of tables. With
    ``parts`` the tasks of a component that are up have rows of their own.
    """
    now = status["now"]
    shown = [each["reason"] for each in (*status["conditions"], *status["workers"])]
    blocks = [[headline(status, paint)], workers(status, paint, parts=parts)]
    if status["conditions"]:
        blocks.append(conditions(status, paint))
    if gpus is not None:
        blocks.append(_section("GPUs", gpus, shown, gpu_table(gpus, paint), paint))
    if containers is not None:
        title = f"Containers  {count_states(containers)}"
        rows = container_table(containers, now, paint, most=_MANY)
        blocks.append(_section(title, containers, shown, rows, paint))
    if backup is not None:
        blocks.append(_section("Backup", backup, shown, backup_lines(backup, now), paint))
    if bench is not None:
        blocks.append(_section("Bench", bench, shown, bench_table(bench, now, paint), paint))
    width = paint.width if fit else 0
    return "\n\n".join("\n".join(cut(line, width) for line in block) for block in blocks if block)


def headline(status: Document, paint: Paint) -> str:
    """Return the line on the state of the daemon."""
    health = paint.good("healthy") if status["healthy"] else paint.bad("UNHEALTHY")
    parts = [paint.bold(f"aiidpd {plain(status['version'])}"), health, f"up {span(status['uptime_seconds'])}"]
    simulated = [worker["name"] for worker in status["workers"] if worker["simulated"]]
    if simulated:
        parts.append(paint.warn(f"{SIMULATED}: {', '.join(simulated)}"))
    return "  ".join(parts)


def workers(status: Document, paint: Paint, *, parts: bool = False) -> list[str]:
    """Return the table of workers; what is not up shows why, unless a condition does.

    Without ``parts`` the further tasks of a component are counted while they are up.
    """
    shown = [condition["reason"] for condition in status["conditions"]]
    listed = [each for each in status["workers"] if parts or not each["up"] or "." not in each["name"]]
    rows = [
        (
            worker["name"],
            worker["state"],
            since(worker["last_success_at"], status["now"]),
            span(worker["last_duration"]),
            str(worker["passes"]),
            str(worker["failed_passes"]),
            str(worker["restarts"]),
            "  ".join(
                filter(None, (SIMULATED if worker["simulated"] else "", _once(worker["reason"], shown)))
            ),
        )
        for worker in listed
    ]
    head = ("WORKER", "STATE", "LAST GOOD", "TOOK", "PASSES", "FAILED", "RESTARTS", "")
    lines = table(head, rows, paint, right="lllrrrr")
    return [
        lines[0],
        *(line if worker["up"] else paint.bad(line) for line, worker in zip(lines[1:], listed, strict=True)),
        *_rest(len(status["workers"]) - len(listed), paint),
    ]


def _rest(count: int, paint: Paint) -> list[str]:
    """Return a line on the tasks that were not listed."""
    if not count:
        return []
    are = "task of theirs is" if count == 1 else "tasks of theirs are"
    return [paint.dim(f"{count} further {are} up: `aiidpctl status --all` lists them")]


def conditions(status: Document, paint: Paint) -> list[str]:
    """Return what is wrong now, and what to do about it."""
    lines = [paint.dim("WRONG NOW")]
    for each in status["conditions"]:
        severity = each["severity"]
        what = f"{each['type']} {each['subject']}".rstrip()
        words = [f"{severity:<8} {what}: {each['reason']}"]
        words.append(f"(for {span(status['now'] - each['since'])})")
        if each["simulated"]:
            words.append(SIMULATED)
        text = plain(" ".join(words))
        lines.append(paint.bad(text) if severity == "error" else paint.warn(text))
        if each["remedy"] or each["runbook"]:
            lines.append(plain(f"         {'; '.join(filter(None, (each['remedy'], each['runbook'])))}"))
    return lines


def _section(
    title: str, document: Document, shown: Iterable[str], rows: Sequence[str], paint: Paint
) -> list[str]:
    """Return ``rows`` under a heading; nothing where there are none, and why is said elsewhere."""
    reason = _once(document["reason"], shown)
    if document["reason"] and not reason and not rows:
        return []
    heading = paint.bold(title.rstrip())
    if document["simulated"]:
        heading += f"  {paint.warn(SIMULATED)}"
    lines = [heading]
    if reason:
        lines.append(paint.warn(plain(reason)))
    return lines + list(rows or ([] if reason else ["none"]))


def _once(reason: str, shown: Iterable[str]) -> str:
    """Return ``reason``, or nothing where one of those ``shown`` contains it."""
    return "" if any(reason in each for each in shown) else reason
