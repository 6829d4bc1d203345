"""Reports as text, Markdown and JUnit XML."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.cli.text import Paint
from aiidpd.components.bench.accept.criteria import Bound, Criterion
from aiidpd.components.bench.accept.report import Report
from aiidpd.components.bench.accept.report_text import junit, markdown, text_lines
from aiidpd.components.bench.accept.verdict import Measured, Outcome, Verdict

SPEED = Criterion("speed", "tokens_per_second", Bound.ABOVE, 100.0)
TTFT = Criterion("ttft", "ttft_p50", Bound.BELOW, 0.1, required=False)


def report(*verdicts: Verdict, problem: str = "", notes: tuple[str, ...] = ()) -> Report:
    figures = {each.criterion.figure: Measured(each.value, each.reason) for each in verdicts}
    return Report("http://x:1", "m", "vllm", "own", verdicts, figures, 12, 3.5, notes, problem)


SOME = report(
    Verdict(SPEED, Outcome.IMPOSSIBLE, 45.0, 100.0, "at most 51.2 tok/s = 1 / (2 GB / 102.4 GB/s)", 20),
    Verdict(TTFT, Outcome.NOT_MEASURED, None, 0.1, "the prefix cache answered"),
)


def test_text():
    assert text_lines(SOME, Paint()) == [
        "own: http://x:1, m (vllm)",
        "CRITERION  WANTED       FOUND",
        "speed      > 100 tok/s  45 tok/s  impossible",
        "ttft       < 100 ms     -         not measured",
        "speed: at most 51.2 tok/s = 1 / (2 GB / 102.4 GB/s)",
        "ttft: the prefix cache answered",
        "not accepted: 1 impossible, 1 not measured; 12 requests in 3.5 s",
    ]


def test_markdown_holds_its_table_whatever_a_server_says():
    lines = markdown(report(Verdict(SPEED, Outcome.FAILED, 45.0, 100.0, "a | b <img>\n`c`"))).splitlines()
    (row,) = (line for line in lines if line.startswith("| speed"))
    assert row == "| speed | > 100 tok/s | 45 tok/s | failed | a \\| b &lt;img> 'c' |"


def test_junit_counts_what_failed_and_what_was_skipped():
    suite = ET.fromstring(junit(SOME))  # ours
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
    }
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "impossible"
    assert "at most 51.2 tok/s" in (failure.get("message") or "")
    assert suite.find("testcase/skipped") is not None


def test_a_problem_is_an_error_and_no_acceptance():
    broken = report(Verdict(TTFT, Outcome.NOT_MEASURED, reason="gone"), problem="cannot measure x: gone")
    assert ET.fromstring(junit(broken)).get("errors") == "1"
    assert text_lines(broken, Paint())[-1] == "not accepted: cannot measure x: gone"
    assert not broken.accepted


def test_a_criterion_that_passed_makes_it_accepted():
    good = report(Verdict(SPEED, Outcome.PASSED, 145.0, 100.0))
    assert good.accepted
    assert good.document()["accepted"]
    assert text_lines(good, Paint())[-1].startswith("accepted: 1 passed")


@given(
    st.text(max_size=200),
    st.text(min_size=1, max_size=100),
    st.sampled_from(Outcome),
    st.one_of(st.none(), st.floats(0, 1e9)),
)
def test_whatever_a_server_says_no_report_breaks(
    reason: str, name: str, outcome: Outcome, value: float | None
):
    criterion = Criterion(name, "tokens_per_second", Bound.ABOVE, 100.0)
    found = report(Verdict(criterion, outcome, value, 100.0, reason), notes=(reason,))
    lines = text_lines(found, Paint(width=80))
    assert all(len(line) <= 80 for line in lines)
    assert all(character.isprintable() for line in lines for character in line)
    assert len(ET.fromstring(junit(found)).findall("testcase")) == 1
    assert markdown(found).count("\n| ") == 3
    json.dumps(found.document())
