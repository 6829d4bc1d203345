"""Results: bounded, whatever there is to name."""

from __future__ import annotations

from aiidpd.components.backup.process.findings import MOST_NAMED, Findings, short
from aiidpd.components.backup.process.protocol import Line, decode_line, encode
from aiidpd.components.backup.process.results import VerifyResult

NAME = "\udcff\x1b[31m" * 1000


def test_a_result_is_bounded_and_counts_all():
    findings = Findings()
    for number in range(10 * MOST_NAMED):
        findings.damage(NAME, f"{number}{NAME}", NAME)
        findings.healed(NAME, f"{number}{NAME}", NAME, NAME)
    findings.quarantined = (NAME,) * 1000
    many = {f"{number}{NAME}": NAME for number in range(10 * MOST_NAMED)}
    result = findings.result(VerifyResult("", 1, 2, 3), many, many)
    counts = (result.damaged_total, result.healed_total, result.broken_total, result.rotten_total)
    assert counts == (10 * MOST_NAMED,) * 4
    assert (len(result.damaged), len(result.healed)) == (MOST_NAMED, MOST_NAMED)
    assert (len(result.broken), len(result.rotten)) == (MOST_NAMED, MOST_NAMED)
    line = encode(Line(verify=result))
    assert len(line) < 12 * MOST_NAMED * 700
    assert line.count(b"\n") == 1
    assert decode_line(line).verify == result


def test_a_text_is_one_bounded_line_that_any_terminal_takes():
    assert short("a\n\x1b") == "a\\n\\x1b"
    assert len(short(NAME)) == 500
    assert short(NAME).isprintable()
