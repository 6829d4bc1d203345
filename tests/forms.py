"""Two forms of one test: a short one for each run, and the long one that CI runs beside it."""

from __future__ import annotations

import pytest


def short_and_long(names: str, short: object, long: object) -> pytest.MarkDecorator:
    """Return a parametrisation of ``names`` whose second set of values is marked ``long``."""
    return pytest.mark.parametrize(
        names, [pytest.param(*_each(short), id="short"), pytest.param(*_each(long), id="long", marks=LONG)]
    )


LONG = (pytest.mark.long, pytest.mark.timeout(900))
"""Marks of a form that takes minutes."""


def _each(values: object) -> tuple[object, ...]:
    return values if isinstance(values, tuple) else (values,)
