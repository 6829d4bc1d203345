from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.cli.chart import Frame, Line, chart

GOLDEN = """\
temperature °C  60 to 90, last 60.6  far 250
   100 ┤                                  ┆
       ┤╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌⢀⣀⡠⠤⠤⠤⠤⠤⠤⠤⣀⡀╌┆╌╌╌╌ slowdown 92
       ┤                ⢀⡠⠤⠒⠉⠁          ⠈⠉⠑⠢⢄⣀
    80 ┤            ⢀⣠⠔⠊⠉                 ┆   ⠑⠒⠤⡀
       ┤        ⣀⡠⠴⠊⠁                     ┆      ⠈⠉⠒⠤⣀
    60 ┤⣀⣀⣀⠤⠤⠒⠒⠉                          ┆           ⠉⠑⠒⠤⠤⣀
       └────────┬────────────┬────────────▲────────────┬────
              -1:00        -0:30        0:00         +0:30"""


def test_a_curve_with_its_limit_and_the_moment_that_matters() -> None:
    points = [(float(at), 60 + 30 * math.sin(at / 40) ** 2) for at in range(121)]
    frame = Frame(0.0, 120.0, width=60, height=6, marks=(80.0,))
    drawn = chart(points, frame, title="temperature °C", lines=[Line(92.0, "slowdown"), Line(250.0, "far")])
    assert "\n".join(drawn) == GOLDEN


def test_a_gap_is_a_gap_and_nothing_known_is_no_chart() -> None:
    frame = Frame(0.0, 100.0, width=40, height=4)
    points: list[tuple[float, float | None]] = [(float(at), 50.0) for at in range(30)]
    points += [(float(at), None) for at in range(30, 50)] + [(float(at), 50.0) for at in range(70, 100)]
    (row,) = [line for line in chart(points, frame, title="t") if any("\u2800" < c <= "\u28ff" for c in line)]
    curve = row.partition("┤")[2]
    assert "    " in curve[10:22]
    assert chart([(1.0, None)], frame, title="t") == []
    assert chart([], frame, title="t") == []


def test_a_terminal_without_braille_gets_stars() -> None:
    frame = Frame(0.0, 10.0, width=30, height=4, braille=False)
    drawn = "\n".join(chart([(float(at), float(at)) for at in range(11)], frame, title="t"))
    assert "*" in drawn
    assert not any("\u2800" <= character <= "\u28ff" for character in drawn)


values = st.one_of(st.none(), st.floats(-1e6, 1e12))


@given(
    st.lists(st.tuples(st.floats(0, 700), values), max_size=50),
    st.integers(20, 160),
    st.integers(2, 20),
    st.lists(st.floats(-100, 800), max_size=5),
)
def test_whatever_is_drawn_fits_its_frame(
    points: list[tuple[float, float | None]], width: int, height: int, marks: list[float]
) -> None:
    frame = Frame(0.0, 660.0, width, height, tuple(marks))
    drawn = chart(sorted(points, key=lambda p: p[0]), frame, title="t", lines=[Line(90.0, "limit")])
    known = [value for at, value in points if value is not None and at <= 660.0]
    assert len(drawn) == (height + 3 if known else 0)
    for line in drawn[1:-1]:
        assert len(line) <= max(width, 18)
