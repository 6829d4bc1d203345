from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from prometheus_client.registry import Collector, CollectorRegistry

from aiidpd.telemetry.encoder import LONGEST_VALUE, Encoder, label_value, number
from aiidpd.telemetry.exposition import render
from aiidpd.telemetry.family import CounterFamily, Family, GaugeFamily, InfoFamily
from aiidpd.telemetry.registry import build_registry

NAMES = st.from_regex(r"[a-z][a-z_0-9]{0,6}x", fullmatch=True)  # no name that a suffix would make another's
# What is written as it is: no control character, and not too long.
SEEN = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=60)
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
NUMBERS = st.floats() | st.integers(-(2**60), 2**60) | st.booleans()
KINDS = st.sampled_from([GaugeFamily, CounterFamily, InfoFamily])


class Given(Collector):
    """Yields what it was given."""

    def __init__(self, *families: Metric) -> None:
        self.families = families

    def collect(self) -> tuple[Metric, ...]:
        return self.families


@st.composite
def families(draw: st.DrawFn, texts: st.SearchStrategy[str] = SEEN) -> Family:
    labels = draw(st.lists(NAMES, unique=True, max_size=3))
    family = draw(KINDS)(draw(NAMES), draw(texts), labels=labels)
    rows = st.dictionaries(st.tuples(*[texts] * len(labels)), NUMBERS, max_size=4)
    for values, value in draw(rows).items():
        family.add_metric(values, 1 if family.type == "info" else value)
    return family


def written(*found: Metric, openmetrics: bool) -> str:
    encoder = Encoder()
    text = "".join(encoder.encode(family, openmetrics=openmetrics) for family in found)
    return text + ("# EOF\n" if openmetrics else "")


def library(*found: Metric) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Given(*found))
    return registry


def by_name(family: Family) -> str:
    return family.name


@given(st.lists(families(), max_size=3, unique_by=by_name))
def test_the_page_has_the_same_bytes_as_the_librarys(found: list[Family]) -> None:
    registry = library(*found)
    assert written(*found, openmetrics=False).encode() == generate_latest(registry)
    assert written(*found, openmetrics=True).encode() == generate_openmetrics(registry)


@given(st.lists(families(ANYTHING), max_size=3, unique_by=by_name))
def test_whatever_the_labels_hold_the_librarys_parsers_read_every_series(found: list[Family]) -> None:
    for parse, wanted in ((plain, False), (openmetrics, True)):
        if wanted and any(family.type == "counter" for family in found):
            for family in found:  # that parser refuses counters that are negative or no number
                family.points = [
                    (labels, abs(value) if math.isfinite(value) else 0) for labels, value in family.points
                ]
        read = [sample for family in parse(written(*found, openmetrics=wanted)) for sample in family.samples]
        given_values = [float(value) for family in found for _, value in family.points]
        assert [sample.value for sample in read] == pytest.approx(given_values, nan_ok=True, rel=0, abs=0)
        for sample in read:
            for value in sample.labels.values():
                assert len(value.encode()) <= LONGEST_VALUE
                assert not any(ord(character) < ord(" ") for character in value)


@given(families())
def test_a_family_of_the_library_is_written_as_ours(family: Family) -> None:
    theirs = Metric(family.name, family.documentation, family.type)
    theirs.samples = family.samples
    for wanted in (False, True):
        assert written(theirs, openmetrics=wanted) == written(family, openmetrics=wanted)


@given(NUMBERS)
def test_a_number_reads_as_the_one_that_was_given(value: float) -> None:
    text = number(value)
    if math.isnan(value):
        assert text == "NaN"
    else:
        assert float(text) == float(value)
        assert math.isfinite(value) or text in ("+Inf", "-Inf")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "1.0"),
        (0, "0.0"),
        (-0.0, "-0.0"),
        (999_999.5, "999999.5"),
        (1_000_000, "1e+06"),
        (1_800_000_000.5, "1.8000000005e+09"),
        (-1_000_000, "-1000000.0"),
        (1e22, "1e+22"),
        (1e-7, "1e-07"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_are_written_as_go_writes_them(value: float, text: str) -> None:
    assert number(value) == text


def test_a_family_of_each_kind() -> None:
    gauge = GaugeFamily("g", 'A "gauge" \\ of\ntwo lines.', labels=("b", "a"))
    gauge.add_metric(['quo"te', "back\\slash"], 1.5)
    counter = CounterFamily("c", "A counter.")
    counter.add_metric((), 2)
    info = InfoFamily("i", "An info.", labels=["version"])
    info.add_metric(["1.2"], 1)
    assert written(gauge, counter, info, openmetrics=False) == (
        '# HELP g A "gauge" \\\\ of\\ntwo lines.\n# TYPE g gauge\ng{a="back\\\\slash",b="quo\\"te"} 1.5\n'
        "# HELP c_total A counter.\n# TYPE c_total counter\nc_total 2.0\n"
        '# HELP i_info An info.\n# TYPE i_info gauge\ni_info{version="1.2"} 1.0\n'
    )
    assert written(gauge, counter, info, openmetrics=True) == (
        '# HELP g A \\"gauge\\" \\\\ of\\ntwo lines.\n# TYPE g gauge\ng{a="back\\\\slash",b="quo\\"te"} 1.5\n'
        "# HELP c A counter.\n# TYPE c counter\nc_total 2.0\n"
        '# HELP i An info.\n# TYPE i info\ni_info{version="1.2"} 1.0\n# EOF\n'
    )


def test_an_unknown_family_is_untyped_in_the_text_format() -> None:
    family = UnknownMetricFamily("u", "Unknown.", value=3)
    assert "# TYPE u untyped\n" in written(family, openmetrics=False)
    assert "# TYPE u unknown\n" in written(family, openmetrics=True)


def with_exemplar() -> Metric:
    counter = Counter("c", "Made up.", registry=None)
    counter.inc(exemplar={"trace": "1"})
    (family,) = counter.collect()
    family.samples = [sample for sample in family.samples if sample.name == "c_total"]
    return family


def timed() -> Metric:
    family = GaugeMetricFamily("g", "Made up.")
    family.add_metric([], 1, timestamp=1)
    return family


def mixed() -> Metric:
    family = GaugeMetricFamily("g", "Made up.")
    family.add_sample("g", {"a": "1"}, 1)
    family.add_sample("g", {"b": "1"}, 1)
    return family


REFUSED = {
    "an exemplar": with_exemplar(),
    "a timestamp": timed(),
    "a creation time": CounterMetricFamily("c", "Made up.", value=1, created=2.0),
    "a unit": GaugeMetricFamily("g", "Made up.", value=1, unit="watts"),
    "a histogram": next(iter(Histogram("h", "Made up.", registry=None).collect())),
    "a state set": StateSetMetricFamily("s", "Made up.", value={"a": True}),
    "labels that differ": mixed(),
    "a name that is none": Family("gauge", "a b", "Made up."),
    "a label that is none": GaugeFamily("g", "Made up.", labels=["a b"]),
    "a reserved label": GaugeFamily("g", "Made up.", labels=["__a"]),
    "a label twice": GaugeFamily("g", "Made up.", labels=["a", "a"]),
}


@pytest.mark.parametrize("family", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("wanted", [False, True])
def test_what_the_formats_or_we_do_not_have_is_refused(family: Metric, wanted: bool) -> None:
    with pytest.raises(ValueError, match=family.name):
        Encoder().encode(family, openmetrics=wanted)


@pytest.mark.parametrize("labels", [(), ("a", "b"), (7,), ("\udcff",)])
def test_labels_that_are_too_few_too_many_or_no_text_are_refused(labels: tuple[str, ...]) -> None:
    family = GaugeFamily("g", "Made up.", labels=["x"])
    family.add_metric(labels, 1)
    with pytest.raises(ValueError, match="g: labels"):
        Encoder().encode(family, openmetrics=False)


@given(ANYTHING)
def test_a_label_value_is_bounded_and_visible(value: str) -> None:
    family = GaugeFamily("g", "Made up.", labels=["x"])
    family.add_metric([value], 1)
    (read,) = plain(written(family, openmetrics=False))
    shown = read.samples[0].labels["x"]
    assert len(shown.encode()) <= LONGEST_VALUE
    assert shown == value or "\N{HORIZONTAL ELLIPSIS}" in shown
    assert len(written(family, openmetrics=False).splitlines()) == 3


def test_a_label_value_of_60_kb_is_cut_and_stays_apart_from_its_like() -> None:
    long = ["é" * 30_000 + end for end in "ab"]
    first, second = map(label_value, long)
    assert first != second
    for shown in (first, second):
        assert shown.startswith("é" * 100)
        assert LONGEST_VALUE - 1 <= len(shown.encode()) <= LONGEST_VALUE
    assert label_value("x" * LONGEST_VALUE) == "x" * LONGEST_VALUE


def test_control_characters_are_replaced_and_values_stay_apart() -> None:
    values = ["a\nb", "a\x1b[31mb", "a\x00b", "a\x01b", "a\u202eb", "a\N{REPLACEMENT CHARACTER}b"]
    shown = [label_value(value) for value in values]
    assert len(set(shown)) == len(values)
    for text in shown:
        assert text.startswith("a\N{REPLACEMENT CHARACTER}")
        assert text.isprintable()


def test_a_hostile_value_does_not_keep_the_page_from_being_served() -> None:
    family = GaugeFamily("g", "Made up.", labels=["x"])
    for value in ("y" * 60_000, "y" * 60_001, 'evil"} 1\ng{x="forged'):
        family.add_metric([value], 1)
    registry = build_registry({"hostile": Given(family)})
    for accept, parse in (("", plain), ("application/openmetrics-text", openmetrics)):
        text = render(registry, accept)[1].decode()
        assert len(text) < 2_000
        found = {family.name: family.samples for family in parse(text)}
        assert len(found["g"]) == 3
        assert found["aiidpd_scrape_collector_success"][0].value == 1


def test_what_is_remembered_is_bounded() -> None:
    encoder = Encoder(remembered=20)
    for number_ in range(100):
        family = GaugeFamily("g", "Made up.", labels=["x"])
        family.add_metric([str(number_)], 1)
        assert f'g{{x="{number_}"}} 1.0\n' in encoder.encode(family, openmetrics=False)
        encoder.forget()
        assert encoder.remembered <= 20


def test_infos_of_the_library_are_written_as_the_library_does() -> None:
    info = InfoMetricFamily("i", "Made up.", labels=["a"])
    info.add_metric(["1"], {"b": "2"})
    assert written(info, openmetrics=True).encode() == generate_openmetrics(library(info))
