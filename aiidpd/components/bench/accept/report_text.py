"""Report of an acceptance as text, as Markdown and as JUnit XML."""

from __future__ import annotations

import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Final

from aiidpd.cli.text import Paint, plain, span, table
from aiidpd.components.bench.accept.report import Report
from aiidpd.components.bench.accept.verdict import Outcome, Verdict

_COLUMNS: Final = 80
_SUITE: Final = "aiidpd"


def text_lines(report: Report, paint: Paint) -> list[str]:
    """Return the table of verdicts, the reason of each that has one, and the outcome."""
    width = paint.width or _COLUMNS
    lines = [paint.bold(line) for line in _wrapped(_head(report), width)]
    rows = [(each.criterion.name, each.wanted, each.found, each.outcome.value) for each in report.verdicts]
    lines += table(("CRITERION", "WANTED", "FOUND", ""), rows, Paint(paint.colour, width))
    for each in report.verdicts:
        if each.reason:
            lines += _wrapped(f"{each.criterion.name}: {each.reason}", width)
    for note in report.notes:
        lines += _wrapped(f"note: {note}", width)
    last = _wrapped(_outcome(report), width)
    return lines + [paint.good(line) if report.accepted else paint.bad(line) for line in last]


def markdown(report: Report) -> str:
    """Return the report for a page or a comment."""
    lines = [f"# {_cell(_head(report))}", "", f"**{_cell(_outcome(report))}**", ""]
    lines += ["| criterion | wanted | found | outcome | |", "| --- | --- | --- | --- | --- |"]
    for each in report.verdicts:
        cells = (each.criterion.name, each.wanted, each.found, each.outcome.value, each.reason)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    if report.notes:
        lines += ["", *(f"- {_cell(note)}" for note in report.notes)]
    return "\n".join([*lines, ""])


def junit(report: Report) -> str:
    """Return the report as JUnit XML: a test case for each criterion."""
    verdicts = report.verdicts
    failed = sum(not each.good for each in verdicts)
    skipped = sum(each.good and each.outcome is not Outcome.PASSED for each in verdicts)
    suite = ET.Element(
        "testsuite",
        name=_xml(f"{_SUITE} {report.profile}"),
        tests=str(len(verdicts)),
        failures=str(failed),
        errors=str(int(bool(report.problem))),
        skipped=str(skipped),
        time=f"{report.seconds:.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for name in ("target", "model", "engine"):
        ET.SubElement(properties, "property", name=name, value=_xml(getattr(report, name)))
    for each in verdicts:
        _case(suite, report, each)
    if report.problem:
        ET.SubElement(suite, "system-err").text = _xml(report.problem)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def failure_text(verdict: Verdict) -> str:
    """Return one line for a verdict: outcome, what was found, what was wanted, and why."""
    why = f"; {verdict.reason}" if verdict.reason else ""
    return plain(
        f"{verdict.outcome.value}: {verdict.criterion.figure} {verdict.wanted}, found {verdict.found}{why}"
    )


def _case(suite: ET.Element, report: Report, verdict: Verdict) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_xml(f"{_SUITE}.{report.profile}"),
        name=_xml(verdict.criterion.name),
        time="0",
    )
    message = _xml(failure_text(verdict))
    if not verdict.good:
        ET.SubElement(case, "failure", type=verdict.outcome.value, message=message)
    elif verdict.outcome is not Outcome.PASSED:
        ET.SubElement(case, "skipped", message=message)
    else:
        ET.SubElement(case, "system-out").text = message


def _head(report: Report) -> str:
    of = f" ({report.engine})" if report.engine else ""
    model = f", {report.model}" if report.model else ""
    return f"{report.profile}: {report.target}{model}{of}"


def _outcome(report: Report) -> str:
    if report.problem:
        return f"not accepted: {report.problem}"
    took = f"{report.requests} requests in {span(report.seconds)}"
    return f"{'accepted' if report.accepted else 'not accepted'}: {', '.join(_counts(report))}; {took}"


def _counts(report: Report) -> Iterator[str]:
    for outcome in Outcome:
        count = sum(each.outcome is outcome for each in report.verdicts)
        if count:
            yield f"{count} {outcome.value}"


def _wrapped(words: str, width: int) -> list[str]:
    return textwrap.wrap(plain(words), width, subsequent_indent="  ", break_on_hyphens=False)


def _cell(words: str) -> str:
    return plain(words).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _xml(words: str) -> str:
    """Return ``words`` without what XML can't hold."""
    return plain(words).encode("utf-8", "replace").decode()
