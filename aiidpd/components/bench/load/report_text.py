"""Report of a load as text, as Markdown, as CSV, and its plot."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from aiidpd.cli.text import UNKNOWN, Paint, counted, plain, span, table
from aiidpd.components.bench.load.plot import Point, svg
from aiidpd.components.bench.load.report import LoadReport
from aiidpd.components.bench.load.workloads import WORKLOADS

_COLUMNS: Final = 80
_HEAD: Final = ("LOAD", "REQ/S", "TOK/S", "TTFT p50", "p95", "TPOT p50", "GAP p95", "GOOD", "FAILED")
_RIGHT: Final = "lrrrrrrrr"
_SPANS: Final = (
    ("first token", "ttft"),
    ("  from its planned time", "waited"),
    ("per token after it", "tpot"),
    ("from chunk to chunk", "gaps"),
    ("whole request", "whole"),
    ("left late by", "late"),
)
_SHARES: Final = ("p50", "p90", "p95", "p99", "most")
_DEPTHS: Final = ("DEPTH", "PROMPT", "READ", "FIRST TOKEN", "READ TOK/S", "GENERATED TOK/S")
_CSV: Final = (
    "load", "users", "rate", "seconds", "requests", "answered", "cut", "requests_per_second",
    "output_tokens_per_second", "total_tokens_per_second", "good", "good_per_second", "on_wire", "in_system",
)  # fmt: skip


def text_lines(report: LoadReport, paint: Paint) -> list[str]:
    """Return the tables, what stands out, and the outcome."""
    width = paint.width or _COLUMNS
    narrow = Paint(paint.colour, width)
    lines = [paint.bold(line) for line in _wrapped(_title(report), width)]
    if report.depths:
        lines += table(_DEPTHS, _depth_rows(report), narrow, right="rrrrrr")
    elif report.levels:
        lines += table(_HEAD, _level_rows(report), narrow, right=_RIGHT)
        place = _shown(report)
        lines += [
            "",
            *table(_spans_head(report, place), _span_rows(report.levels[place]), narrow, right="lrrrrrr"),
        ]
    for words in _words(report):
        lines += _wrapped(words, width)
    outcome = report.outcome
    last = _wrapped(_last(report), width)
    return lines + [paint.bad(line) if outcome or report.interrupted else paint.good(line) for line in last]


def markdown(report: LoadReport) -> str:
    """Return the report for a page or a comment."""
    lines = [f"# {_cell(_title(report))}", "", f"**{_cell(_last(report))}**", ""]
    if report.depths:
        lines += _grid(_DEPTHS, _depth_rows(report))
    elif report.levels:
        lines += _grid(_HEAD, _level_rows(report))
        place = _shown(report)
        lines += ["", *_grid(_spans_head(report, place), _span_rows(report.levels[place]))]
    lines += ["", *(f"- {_cell(words)}" for words in _words(report))]
    return "\n".join([*lines, ""])


def csv_text(report: LoadReport) -> str:
    """Return a row for each level or depth; times in seconds, empty where a figure is not known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if report.depths:
        names = list(report.depths[0])
        writer.writerow(names)
        writer.writerows([_blank(row[name]) for name in names] for row in report.depths)
        return out.getvalue()
    spans = [(name, share) for _, name in _SPANS for share in _SHARES]
    writer.writerow([*_CSV, *(f"{name}_{share}" for name, share in spans), "ceiling", "saturated", "invalid"])
    for each in report.document()["levels"]:
        figures, ceiling = each["figures"], each["ceiling"]
        row = [_blank(figures.get(name, each.get(name))) for name in _CSV]
        row += [_blank(figures[name][share]) for name, share in spans]
        row += [_blank(ceiling and ceiling["tokens_per_second"]), each["saturated"], each["invalid"]]
        writer.writerow(row)
    return out.getvalue()


def plot(report: LoadReport) -> str:
    """Return the plot of latency and output against load, as SVG."""
    points = []
    for place, each in enumerate(report.levels):
        ceiling = report.ceilings[place] if report.ceilings else None
        first = each["figures"]["ttft"]
        points.append(
            Point(
                each["load"],
                first["p50"],
                first["p95"],
                report.output(place)[0],
                None if ceiling is None else ceiling.tokens_per_second,
            )
        )
    unit = "requests/s" if report.levels and report.levels[0]["rate"] is not None else "users"
    knee = report.found.get("knee") or {}
    return svg(points, title=_title(report), unit=unit, knee=knee.get("load"))


def workload_lines(width: int) -> list[str]:
    """Return the workloads with their lengths and sources."""
    lines = []
    for each in WORKLOADS.values():
        lines += _wrapped(f"{each.name}: {each.text}", width)
        for kind in each.kinds:
            share = f"{kind.weight:g} x " if len(each.kinds) > 1 else ""
            lengths = f"prompts of {kind.prompt} tokens, answers of {kind.answer}"
            lines += _wrapped(f"  {share}{kind.name} ({kind.form.value}): {lengths}", width, "    ")
        wait = f"waits {each.wait[0]:g} to {each.wait[1]:g} s" if each.waits else "no wait"
        turns = f", {each.turns} turns" if each.turns is not None else ""
        lines += [*_wrapped(f"  {wait}{turns}; {each.source}", width, "    "), ""]
    return [*lines, *_wrapped("Median (tenth to ninetieth percentile) of tokens, estimated.", width)]


def _title(report: LoadReport) -> str:
    described = report.found.get("described", {})
    of = f" ({described['engine']})" if described.get("engine") else ""
    model = f", {described['model']}" if described.get("model") else ""
    what = "by depth" if report.depths else f"under load, {report.plan.workload}"
    return f"{what}: {report.plan.url}{model}{of}"


def _shown(report: LoadReport) -> int:
    """Return the place of the level whose percentiles are shown: the knee, else the last."""
    knee = report.found.get("knee") or {}
    places = [place for place, each in enumerate(report.levels) if each["load"] == knee.get("load")]
    return places[-1] if places else len(report.levels) - 1


def _spans_head(report: LoadReport, place: int) -> tuple[str, ...]:
    return (f"AT {report.levels[place]['words'].upper()}", "P50", "P90", "P95", "P99", "LONGEST", "OF")


def _level_rows(report: LoadReport) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for place in sorted(range(len(report.levels)), key=lambda each: report.levels[each]["load"]):
        level = report.levels[place]
        figures = level["figures"]
        rows.append(
            (
                level["words"],
                f"{figures['requests_per_second']:.3g}",
                _number(report.output(place)[0]),
                _span(figures["ttft"]["p50"]),
                _span(figures["ttft"]["p95"]),
                _span(figures["tpot"]["p50"]),
                _span(figures["gaps"]["p95"]),
                UNKNOWN if figures["good"] is None else f"{100 * figures['good']:.0f} %",
                str(sum(figures["faults"].values())),
            )
        )
    return rows


def _span_rows(level: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for words, name in _SPANS:
        found = level["figures"][name]
        rows.append((words, *(_span(found[share]) for share in _SHARES), str(found["count"])))
    return rows


def _depth_rows(report: LoadReport) -> list[tuple[str, ...]]:
    return [
        (
            str(each["depth"]),
            _number(each["prompt_tokens"]),
            _number(each["read"]),
            _span(each["ttft"]),
            _number(each["prompt_tokens_per_second"]),
            _number(each["output_tokens_per_second"]),
        )
        for each in report.depths
    ]


def _words(report: LoadReport) -> Iterator[str]:
    for each in report.depths:
        if each["reason"]:
            yield f"depth {each['depth']}: {each['reason']}"
    for place, level in enumerate(report.levels):
        yield from (f"{level['words']}: {words}" for words in _level_words(report, place))
    if report.levels and not any(report.ceilings) and report.no_ceiling:
        yield f"no ceiling: {report.no_ceiling}"
    knee = report.found.get("knee")
    if knee is not None and knee["load"] is not None:
        words = next(each["words"] for each in report.levels if each["load"] == knee["load"])
        yield f"knee: {words}; {knee['reason']}"
    elif knee is not None:
        yield f"no knee: {knee['reason']}"
    if report.gpu_utilization is not None:
        yield f"the GPU that was used most was busy for {100 * report.gpu_utilization:.0f} % of the time"
    yield from (f"note: {note}" for note in report.notes)


def _level_words(report: LoadReport, place: int) -> Iterator[str]:
    level = report.levels[place]
    figures = level["figures"]
    for fault, count in figures["faults"].items():
        yield f"{count} {fault}: {figures['reasons'][fault]}"
    if figures["cut"]:
        yield f"{counted(figures['cut'], 'request')} not answered when it ended"
    if level["invalid"]:
        yield f"INVALID: {level['invalid']}"
    if level["saturated"]:
        yield f"over-saturated: {level['saturated']}"
    value, why = report.output(place)
    if why:
        yield why
    ceiling = report.ceilings[place] if report.ceilings else None
    if ceiling is not None and value is not None:
        assumed = "" if ceiling.certain else ", if all these weights are read from this memory"
        share = value / ceiling.tokens_per_second
        most = f"{ceiling.tokens_per_second:.4g} tok/s = {ceiling.arithmetic}"
        yield f"{100 * share:.3g} % of the ceiling for {ceiling.requests} at once, {most}{assumed}"
    if place == _shown(report):
        yield from _shown_words(figures)
    yield from figures["notes"]


def _shown_words(figures: Mapping[str, Any]) -> Iterator[str]:
    parts = [
        ("tok/s with prompts", figures["total_tokens_per_second"]),
        ("tok/s a request", figures["request_tokens_per_second"]),
        ("prompt tokens", figures["prompt_tokens"]),
        ("output tokens", figures["output_tokens"]),
        ("good requests/s", figures["good_per_second"]),
    ]
    found = [f"{_number(value)} {name}" for name, value in parts if value is not None]
    if figures["cached_share"] is not None:
        found.append(f"{100 * figures['cached_share']:.0f} % of the prompts from a cache")
    if figures["unjudged"]:
        found.append(f"{counted(figures['unjudged'], 'request')} could not be held against the limits")
    if found:
        yield "; ".join(found)


def _last(report: LoadReport) -> str:
    took = f"in {span(report.seconds)}"
    if report.interrupted:
        return f"interrupted, and a part of what was to be measured: {_amount(report)} {took}"
    if report.outcome:
        return f"no good result: {report.outcome}"
    return f"measured: {_amount(report)} {took}"


def _amount(report: LoadReport) -> str:
    if report.depths:
        return counted(len(report.depths), "depth")
    requests = sum(each["figures"]["requests"] for each in report.levels)
    answered = sum(each["figures"]["answered"] for each in report.levels)
    return f"{answered} of {counted(requests, 'request')} answered at {counted(len(report.levels), 'level')}"


def _span(seconds: float | None) -> str:
    return span(seconds) if seconds is None or seconds >= 1e-6 else "0 s"  # noqa: PLR2004 -- below its units


def _number(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 -- three figures


def _blank(value: object) -> object:
    return "" if value is None else value


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines]


def _wrapped(words: str, width: int, indent: str = "  ") -> list[str]:
    return textwrap.wrap(plain(words), width, subsequent_indent=indent, break_on_hyphens=False)


def _cell(words: str) -> str:
    return plain(words).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
