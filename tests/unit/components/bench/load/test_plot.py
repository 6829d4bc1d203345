"""Plot of a ramp: valid, alone, and true."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.load.plot import Point, svg

NAMESPACE = "{http://www.w3.org/2000/svg}"
VALUES = st.one_of(st.none(), st.floats(0, 1e9))
POINTS = st.lists(
    st.builds(Point, st.floats(0.01, 1e5), VALUES, VALUES, VALUES, VALUES),
    max_size=8,
    unique_by=lambda each: each.load,
)
RAMP = [Point(2**n, 0.1 * 2**n, 0.2 * 2**n, 100.0 * min(n + 1, 3), 150.0 * 2**n) for n in range(5)]


@given(POINTS, st.text(max_size=40), st.text(max_size=10), st.one_of(st.none(), st.floats(0.01, 1e5)))
def test_whatever_it_shows_it_is_valid(points: list[Point], title: str, unit: str, knee: float | None):
    text = svg(points, title=title, unit=unit, knee=knee)
    root = ET.fromstring(text.encode())
    assert root.tag == f"{NAMESPACE}svg"
    for circle in root.iter(f"{NAMESPACE}circle"):
        assert 0 <= float(circle.get("cx", "")) <= 760
        assert 0 <= float(circle.get("cy", "")) <= 700
    known = sum(
        value is not None
        for each in points
        for value in (each.ttft_p50, each.ttft_p95, each.output, each.ceiling)
    )
    assert len(list(root.iter(f"{NAMESPACE}circle"))) == known


@given(POINTS)
def test_it_stands_alone_and_has_numbers_alone(points: list[Point]):
    text = svg(points, title="t", unit="users").replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"href|src=|@import|url\(|<script|://|nan|inf", text, re.IGNORECASE)


def test_texts_are_escaped():
    text = svg(RAMP, title='<script>"&\x00\ud800', unit="</svg>")
    root = ET.fromstring(text.encode())
    assert root.get("aria-label") == '<script>"&  '
    assert root.findtext(f"{NAMESPACE}title") == '<script>"&  '
    assert "<script>" not in text


def test_more_is_higher_and_later_is_further_right():
    root = ET.fromstring(svg(RAMP, title="t", unit="users", knee=4).encode())
    lines = [each.get("points", "") for each in root.iter(f"{NAMESPACE}polyline")]
    assert len(lines) == 4
    for line in lines:
        places = [tuple(map(float, each.split(","))) for each in line.split()]
        assert [x for x, _ in places] == sorted(x for x, _ in places)
        assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    words = [each.text for each in root.iter(f"{NAMESPACE}text")]
    assert {"ceiling", "knee", "users", "p95", "tokens a second, all requests"} <= set(words)


def test_light_and_dark_are_the_reader_s_choice_and_words_say_what_it_shows():
    text = svg(RAMP, title="t", unit="users", knee=4)
    assert "prefers-color-scheme:dark" in text
    root = ET.fromstring(text.encode())
    assert "8 users: first token p50 0.8 s, p95 1.6 s, output 300 tok/s" in (
        root.findtext(f"{NAMESPACE}desc") or ""
    )


def test_a_gap_is_left_where_nothing_is_known():
    points = [Point(n, 0.1, None if n == 3 else 0.2, 1.0) for n in range(1, 6)]
    root = ET.fromstring(svg(points, title="t", unit="users").encode())
    styles = [each.get("class") for each in root.iter(f"{NAMESPACE}polyline")]
    assert styles.count("line b") == 2
    assert styles.count("line a") == 1
