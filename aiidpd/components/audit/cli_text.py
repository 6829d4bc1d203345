"""Findings as text for people."""

from __future__ import annotations

from aiidpd.cli.text import Document, Paint, counted, plain, table

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = 5  # subjects whose names are given
LEVELS = ("low", "medium", "high", "critical")


def reaches(finding: Document, level: str) -> bool:
    """Return whether a finding that is not waived has severity ``level`` or more."""
    if level == "never" or finding["waived"]:
        return False
    return LEVELS.index(finding["severity"]) >= LEVELS.index(level)


def finding_lines(document: Document, paint: Paint) -> list[str]:
    """Return the findings as a table, those about one subject together, then how to mend each rule's."""
    findings = [each for each in document["findings"] if not each["waived"]]
    rows = [(each["severity"], each["subject"], each["rule"], each["cis"], each["what"]) for each in findings]
    lines = table(("SEVERITY", "SUBJECT", "RULE", "CIS", "WHAT"), rows, paint) if rows else []
    for waived in (each for each in document["findings"] if each["waived"]):
        until = f"waived until {waived['waived']['until']}: {waived['waived']['reason']}"
        lines.append(paint.dim(plain(f"{waived['subject']}: {waived['rule']} is {until}")))
    lines += _unchecked(document, paint)
    if findings:
        lines.append("")
        lines += _mending(findings, paint)
    return lines


def _unchecked(document: Document, paint: Paint) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for rule, reason in document.get("unchecked", {}).items():
        reasons.setdefault(reason, []).append(rule)
    for reason, rules in reasons.items():
        yield paint.warn(plain(f"not checked ({', '.join(rules)}): {reason}"))


def _mending(findings: list[Document], paint: Paint) -> Iterator[str]:
    """Yield how to mend, once for each rule, with the lines of compose and whom they are for."""
    rules: dict[str, list[Document]] = {}
    for each in findings:
        rules.setdefault(each["rule"], []).append(each)
    for rule, members in rules.items():
        yield paint.bold(plain(f"{rule}: {members[0]['remedy']}"))
        yield plain(f"  {members[0]['why']}")
        blocks: dict[tuple[str, ...], list[Document]] = {}
        for each in members:
            if each["lines"]:
                blocks.setdefault(tuple(each["lines"]), []).append(each)
        for lines, same in blocks.items():
            names = list(dict.fromkeys(each["subject"] for each in same))
            more = f", and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
            chosen = "  # the value is for you to choose" if same[0]["guess"] else ""
            yield f"  {plain(', '.join(names[:_NAMES]) + more)}:{chosen}"
            yield from (f"    {_plain_line(line)}" for line in lines)


def _plain_line(line: str) -> str:
    """Return ``line`` with its indentation, and nothing that steers a terminal."""
    bare = line.lstrip(" ")
    return " " * (len(line) - len(bare)) + plain(bare)


def summary_line(document: Document) -> str:
    """Return how many findings there are, by severity."""
    findings = [each for each in document["findings"] if not each["waived"]]
    waived = len(document["findings"]) - len(findings)
    counts = (
        f"{sum(each['severity'] == level for each in findings)} {level}"
        for level in reversed(LEVELS)
        if any(each["severity"] == level for each in findings)
    )
    subjects = ", ".join(counted(count, kind) for kind, count in document["subjects"].items() if count)
    words = f"{counted(len(findings), 'finding')} in {subjects or 'nothing'}"
    detail = ", ".join(counts)
    return f"{words}{f' ({detail})' if detail else ''}{f', {waived} waived' if waived else ''}"


def changed_lines(document: Document, paint: Paint) -> Iterator[str]:
    """Yield the difference that mending makes, and what is left to a person."""
    for line in document["diff"].splitlines():
        shown = _plain_line(line)
        yield (
            paint.good(shown) if line.startswith("+") else paint.bad(shown) if line.startswith("-") else shown
        )
    for each in document["left"]:
        yield paint.warn(plain(f"left: {each['service']}: {each['what']} ({each['rule']}): {each['reason']}"))
        yield from (f"    {_plain_line(line)}" for line in each.get("lines", ()))


def rule_table(document: Document, paint: Paint) -> list[str]:
    """Return the table of all rules."""
    rows = [
        (each["id"], each["severity"], each["cis"], each["group"], each["title"])
        for each in document["rules"]
    ]
    return table(("RULE", "SEVERITY", "CIS", "GROUP", "TITLE"), rows, paint)


def explained(rule: Document, paint: Paint) -> Iterator[str]:
    """Yield all that is known of one rule."""
    yield paint.bold(f"{rule['id']}: {rule['title']}")
    numbered = f", CIS Docker Benchmark 1.6 number {rule['cis']}" if rule["cis"] else ""
    yield f"severity {rule['severity']}, group {rule['group']}{numbered}"
    yield f"finds:   {rule['finds']}"
    yield f"because: {rule['why']}"
    yield f"mend:    {rule['remedy']}"
