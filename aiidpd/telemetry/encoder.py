"""Writes metric families as text: Prometheus text 0.0.4 and OpenMetrics 1.0.

The same bytes as the Prometheus library's own encoder, for what our collectors yield, in a fraction of
the time: what precedes a value, name and labels, is made once for each series and remembered.
"""

from __future__ import annotations

import math
import re
from hashlib import blake2b

from prometheus_client.metrics_core import Metric

from aiidpd.telemetry.family import Family

LONGEST_VALUE = 256  # bytes of UTF-8
REMEMBERED = 10_000  # series; more than a daemon has, so it is reached only where labels come and go

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*").fullmatch
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*").fullmatch
# Control characters, and what reorders or breaks lines on a screen.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_EXPONENT_FROM = 1e6  # Go, and so Prometheus, writes greater numbers with an exponent
_POINT_BEFORE = 6


class Encoder:
    """Encodes families one by one. Between two pages it remembers at most ``remembered`` series."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._limit = remembered
        self._starts: dict[tuple[str, tuple[str, ...]], _Starts] = {}
        self._headers: dict[tuple[str, str, str, bool], str] = {}

    def encode(self, metric: Metric, *, openmetrics: bool) -> str:
        """Return the lines of ``metric``.

        Raises :class:`ValueError` or :class:`TypeError` for what can't be written: a name that is none, a
        label value that is no text, a value that is no number, a series given twice, and whatever
        :meth:`~aiidpd.telemetry.family.Family.of` refuses.
        """
        family = metric if isinstance(metric, Family) else Family.of(metric)
        header = self._header(family, openmetrics=openmetrics)
        starts = self._starts_of(family)
        points = family.points
        if len({labels for labels, _ in points}) < len(points):
            raise ValueError(f"{family.sample_name}: a series is given twice")
        return header + "".join([f"{starts[labels]}{number(value)}\n" for labels, value in points])

    @property
    def remembered(self) -> int:
        """Numbers of what is remembered: series, families and their headers."""
        return sum(map(len, self._starts.values())) + len(self._starts) + len(self._headers)

    def forget(self) -> None:
        """Drop what is remembered where it is too much; to be called between two pages."""
        if self.remembered > self._limit:
            self._starts.clear()
            self._headers.clear()

    def _starts_of(self, family: Family) -> _Starts:
        key = (family.sample_name, family.labels)
        starts = self._starts.get(key)
        if starts is None:
            starts = self._starts[key] = _Starts(family)
        return starts

    def _header(self, family: Family, *, openmetrics: bool) -> str:
        key = (family.name, family.type, family.documentation, openmetrics)
        header = self._headers.get(key)
        if header is None:
            header = self._headers[key] = _header(family, openmetrics=openmetrics)
        return header


class _Starts(dict[tuple[str, ...], str]):
    """Text before the value of each series of one family, by its label values; made when missing."""

    def __init__(self, family: Family) -> None:
        super().__init__()
        self._name = family.sample_name
        self._labels = family.labels
        for label in self._labels:
            if not _LABEL(label) or self._labels.count(label) > 1:
                raise ValueError(f"{self._name}: {label!r} can't be the name of a label")

    def __missing__(self, labels: tuple[str, ...]) -> str:
        try:
            pairs = sorted(zip(self._labels, map(label_value, labels), strict=True))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self._name}: labels {labels!r}: {error}") from error
        inside = ",".join(f'{name}="{value}"' for name, value in pairs)
        start = self[labels] = f"{self._name}{{{inside}}} " if inside else f"{self._name} "
        return start


def number(value: float) -> str:
    """Return ``value`` as Prometheus writes it."""
    value = float(value)
    if -_EXPONENT_FROM < value < _EXPONENT_FROM:
        return repr(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    point = text.find(".")
    if value < 0 or point <= _POINT_BEFORE:  # the Prometheus library leaves these to Python
        return text
    mantissa = f"{text[0]}.{text[1:point]}{text[point + 1 :]}".rstrip("0.")
    return f"{mantissa}e+{point - 1:02d}"


def label_value(value: str) -> str:
    """Return ``value`` as it is written between the quotes: bounded, visible, escaped.

    Names come from engines, containers and files, so they may hold anything. Each control character is
    replaced, and what is longer than ``LONGEST_VALUE`` is cut. A value that is changed so ends with an
    ellipsis and a digest of the whole, so that two such values stay two series.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    size = len(value.encode())  # a lone surrogate would fail the whole page: it fails here
    shown = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", value)
    if shown != value or size > LONGEST_VALUE:
        mark = f"{_ELLIPSIS}{blake2b(value.encode(), digest_size=6).hexdigest()}"
        room = LONGEST_VALUE - len(mark.encode())
        shown = shown.encode()[:room].decode(errors="ignore") + mark
    return shown.replace("\\", r"\\").replace('"', r"\"")


def _header(family: Family, *, openmetrics: bool) -> str:
    if not _NAME(family.name):
        raise ValueError(f"{family.name!r} can't be the name of a metric")
    text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    name, kind = family.name, family.type
    if openmetrics:
        text = text.replace('"', r"\"")
    else:
        # The text format knows the series alone, not what they have in common.
        name = family.sample_name
        kind = {"info": "gauge", "unknown": "untyped"}.get(kind, kind)
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
