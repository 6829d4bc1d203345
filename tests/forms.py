"""Two forms of one test: a short one for each run, and the long one that CI runs beside it."""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

REQUIRE_REAL: Final = os.environ.get("AIIDPD_REQUIRE_REAL") == "1"
_DESK_SHARE: Final = 0.3  # of CI's examples; what they find differs from run to run, so few find much in time


def profile() -> settings:
    """Return how hypothesis runs here.

    CI judges a change by the same examples each time, and by many; those at a desk are new ones in each run.
    A slow example says more about a busy machine than about the code; pytest-timeout bounds the whole.
    """
    return settings(
        max_examples=_examples(100),
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
        ],
        derandomize=REQUIRE_REAL or "CI" in os.environ,
        print_blob=True,
    )


def examples(number: int) -> settings:
    """Return settings for a test that deserves another ``number`` of examples in CI than is usual."""
    return settings(max_examples=_examples(number))


def _examples(number: int) -> int:
    return number if REQUIRE_REAL else round(number * _DESK_SHARE)


def short_and_long(names: str, short: object, long: object) -> pytest.MarkDecorator:
    """Return a parametrisation of ``names`` whose second set of values is marked ``long``."""
    return pytest.mark.parametrize(
        names, [pytest.param(*_each(short), id="short"), pytest.param(*_each(long), id="long", marks=LONG)]
    )


LONG = (pytest.mark.long, pytest.mark.timeout(1800))
"""Marks of a form that takes minutes."""


def _each(values: object) -> tuple[object, ...]:
    return values if isinstance(values, tuple) else (values,)
