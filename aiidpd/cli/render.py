"""The daemon's documents as text for people: dictionaries as the control API gives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from aiidpd.cli.engine_text import requests
from aiidpd.cli.text import UNKNOWN, Paint, cut, moment, number, plain, since, size, span, table

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from typing import Any

    Document = Mapping[str, Any]
else:
    Document = Mapping

SIMULATED = "SIMULATED"
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
) -> str:
    """Return the whole daemon as a block of lines; a section whose document is None is left out.

    A reason is said once: with what is wrong, or else with the worker, or else with the section. With
    ``fit`` every line that is longer than the width of ``paint`` is cut, not only those of tables.
    """
    now = status["now"]
    told = [each["reason"] for each in (*status["conditions"], *status["workers"])]
    gpus, containers, backup, bench = (_untold(each, told) for each in (gpus, containers, backup, bench))
    blocks = [[headline(status, paint)], workers(status, paint)]
    if status["conditions"]:
        blocks.append(conditions(status, paint))
    if gpus is not None:
        blocks.append([*_section("GPUs", gpus, paint), *gpu_table(gpus, paint)])
    if containers is not None:
        blocks.append(
            [
                *_section(f"Containers  {count_states(containers)}", containers, paint),
                *container_table(containers, now, paint, most=_MANY),
            ]
        )
    if backup is not None:
        blocks.append([*_section("Backup", backup, paint), *backup_lines(backup, now)])
    if bench is not None:
        blocks.append([*_section("Bench", bench, paint), *bench_table(bench, now, paint)])
    return "\n\n".join("\n".join(cut(line, paint.width if fit else 0) for line in block) for block in blocks)


def headline(status: Document, paint: Paint) -> str:
    """Return the line that says how the daemon is."""
    health = paint.good("healthy") if status["healthy"] else paint.bad("UNHEALTHY")
    parts = [paint.bold(f"aiidpd {plain(status['version'])}"), health, f"up {span(status['uptime_seconds'])}"]
    simulated = [worker["name"] for worker in status["workers"] if worker["simulated"]]
    if simulated:
        parts.append(paint.warn(f"{SIMULATED}: {', '.join(simulated)}"))
    return "  ".join(parts)


def workers(status: Document, paint: Paint) -> list[str]:
    """Return the table of workers; what is not up says why, unless a condition does."""
    told = [condition["reason"] for condition in status["conditions"]]
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
                filter(None, (SIMULATED if worker["simulated"] else "", _once(worker["reason"], told)))
            ),
        )
        for worker in status["workers"]
    ]
    head = ("WORKER", "STATE", "LAST GOOD", "TOOK", "PASSES", "FAILED", "RESTARTS", "")
    lines = table(head, rows, paint, right="lllrrrr")
    return [
        lines[0],
        *(
            line if worker["up"] else paint.bad(line)
            for line, worker in zip(lines[1:], status["workers"], strict=True)
        ),
    ]


def conditions(status: Document, paint: Paint) -> list[str]:
    """Return what is wrong now, and what to do about it."""
    lines = [paint.dim("WRONG NOW")]
    for each in status["conditions"]:
        severity = each["severity"]
        words = [f"{severity:<8} {each['type']} {each['subject']}: {each['reason']}"]
        words.append(f"(for {span(status['now'] - each['since'])})")
        if each["simulated"]:
            words.append(SIMULATED)
        text = plain(" ".join(words))
        lines.append(paint.bad(text) if severity == "error" else paint.warn(text))
        if each["remedy"] or each["runbook"]:
            lines.append(plain(f"         {'; '.join(filter(None, (each['remedy'], each['runbook'])))}"))
    return lines


def gpu_table(document: Document, paint: Paint) -> list[str]:
    """Return the table of GPUs, and a line for each driver call that failed."""
    rows = [
        (
            str(gpu["index"]),
            gpu["name"],
            number(gpu["temperature_celsius"], "°C"),
            _of(gpu["power_watts"], gpu["power_limit_watts"], "W"),
            _percent(gpu["fan_ratio"]),
            _percent(gpu["utilisation_ratio"]),
            _memory(gpu["memory_used_bytes"], gpu["memory_total_bytes"]),
            number(_scaled(gpu["graphics_clock_hertz"], 1e-6), "MHz"),
            UNKNOWN if gpu["clock_events"] is None else ", ".join(gpu["clock_events"]) or "nothing",
        )
        for gpu in document["gpus"]
    ]
    head = ("GPU", "NAME", "TEMP", "POWER", "FAN", "LOAD", "MEMORY", "CLOCK", "SLOWED BY")
    lines = table(head, rows, paint, right="rlrrrrrr") if rows else []
    for fault in document["faults"]:
        where = "driver" if fault["index"] is None else f"GPU {fault['index']}"
        lines.append(paint.bad(plain(f"{where}: {fault['call']} says {fault['name']}")))
    return lines


def container_table(document: Document, now: float, paint: Paint, *, most: int | None = None) -> list[str]:
    """Return the table of containers, at most ``most`` of them: those that need a look first."""
    order = sorted(document["containers"], key=lambda each: (_calm(each), each["name"]))
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


def backup_lines(document: Document, now: float) -> list[str]:
    """Return the last, the present and the next backup."""
    if not document["configured"]:
        return []
    lines = [f"{document['source']} to {document['target']}, {document['schedule']}"]
    good = [each for each in document["snapshots"] if not each["broken"]]
    whole = f"last verified {since(document['last_success_at'], now)}, {len(good)} snapshots"
    if document["next_run_at"] is not None:
        whole += f", next {since(document['next_run_at'], now)}"
    lines.append(whole)
    if document["running"]:
        run = document["running"]
        done = f"{size(run['bytes_done'])} of {size(run['bytes'])}"
        lines.append(f"now {run['phase']}: {run['files_done']} of {run['files']} files, {done}")
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


def bench_table(document: Document, now: float, paint: Paint) -> list[str]:
    """Return the table of endpoints; the figures are those of the last measurement that succeeded."""
    lines: list[str] = []
    rows = []
    for each in document["endpoints"]:
        sample = each["sample"] or {}
        rows.append(
            (
                each["name"],
                each["model"],
                span(sample.get("ttft_seconds")),
                span(sample.get("time_per_output_token_seconds")),
                number(sample.get("output_tokens_per_second"), digits=1),
                since(each["measured_at"], now),
                requests(each["engine"]),
                "  ".join(filter(None, (SIMULATED if each["simulated"] else "", each["error"]))),
            )
        )
    head = ("ENDPOINT", "MODEL", "FIRST TOKEN", "PER TOKEN", "TOKENS/S", "MEASURED", "REQUESTS", "")
    if rows:
        lines += table(head, rows, paint, right="llrrrrl")
    for each in document["endpoints"]:
        for withheld in (each["sample"] or {}).get("withheld", ()):
            text = f"{each['name']}: no {withheld['figure']}: {withheld['reason']}"
            lines.append(paint.dim(plain(text)))
    return lines


def event_line(event: Document, paint: Paint) -> str:
    """Return one event as a line."""
    severity = event["severity"]
    marked = f"{severity:<7}"
    if severity in ("warning", "error"):
        marked = paint.warn(marked) if severity == "warning" else paint.bad(marked)
    subject = f" {plain(event['subject'])}" if event["subject"] else ""
    simulated = f"  {paint.warn(SIMULATED)}" if event["simulated"] else ""
    what = f"{paint.bold(plain(event['kind']))}{subject}: {plain(event['reason'])}"
    return f"{paint.dim(moment(event['time']))}  {marked}  {what}{simulated}"


def alert_lines(alerts: Iterable[Document], now: float, paint: Paint) -> list[str]:
    """Return each alert with what it is, and under it what to do about it."""
    lines = []
    for alert in alerts:
        words = [f"{alert['severity']:<8} {alert['stage']:<8} {alert['name']}: {alert['summary']}"]
        words.append(f"(for {span(max(0.0, now - alert['since']))})")
        if alert["condition"] == "unknown":
            words.append(f"(last known {since(alert['known_at'], now)})")
        if alert["restored"]:
            words.append("(from before the restart)")
        if alert["simulated"]:
            words.append(SIMULATED)
        text = plain(" ".join(words))
        grave = paint.bad if alert["severity"] == "error" else paint.warn
        lines.append(grave(text) if alert["stage"] == "firing" else text)
        lines.append(paint.dim(plain(f"{'':<17} {alert['remedy']}; {alert['runbook']}")))
    return lines


def job_table(jobs: Iterable[Document], now: float, paint: Paint) -> list[str]:
    """Return the table of jobs."""
    rows = [
        (
            job["id"],
            job["state"],
            since(job["created_at"], now),
            job_progress(job) if job["state"] == "running" else job["error"],
        )
        for job in jobs
    ]
    return table(("JOB", "STATE", "ASKED", ""), rows, paint) if rows else []


def job_progress(job: Document) -> str:
    """Return how far a job is, as one line."""
    parts = [f"{job['id']}: {job['message'] or job['state']}"]
    if job["total"]:
        unit = job["unit"]
        if unit == "bytes":
            done, total = size(job["done"]), size(job["total"])
        else:
            done, total = f"{job['done']:g}", f"{job['total']:g} {unit}".rstrip()
        parts.append(f"{done} of {total}, {100 * job['done'] / job['total']:.0f} %")
    return plain("  ".join(parts))


def job_result(job: Document) -> list[str]:
    """Return what came of a job, one figure a line."""
    wide = max((len(name) for name in job["result"]), default=0)
    return [plain(f"{name:<{wide}}  {value}") for name, value in job["result"].items() if value is not None]


def _section(title: str, document: Document, paint: Paint) -> list[str]:
    heading = paint.bold(title.rstrip())
    if document["simulated"]:
        heading += f"  {paint.warn(SIMULATED)}"
    lines = [heading]
    if document["reason"]:
        lines.append(paint.warn(plain(document["reason"])))
    return lines


def _once(reason: str, told: Iterable[str]) -> str:
    """Return ``reason``, or nothing where one of those ``told`` says it."""
    return "" if any(reason in each for each in told) else reason


def _untold(document: Document | None, told: Iterable[str]) -> Document | None:
    return None if document is None else {**document, "reason": _once(document["reason"], told)}


def _calm(container: Document) -> bool:
    return container["state"] == "running" and container["health"] in (None, "healthy")


def _of(value: float | None, limit: float | None, unit: str) -> str:
    return number(value, unit) if limit is None else f"{number(value)}/{number(limit, unit)}"


def _memory(used: float | None, total: float | None) -> str:
    if total is None:
        return size(used)
    value, _, unit = size(used).partition(" ")
    return f"{value if size(total).endswith(f' {unit}') else size(used)}/{size(total)}"


def _percent(ratio: float | None) -> str:
    return number(_scaled(ratio, 100), "%")


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
