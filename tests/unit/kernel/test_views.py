from __future__ import annotations

import pytest

from aiidpd.kernel.reading import Reading
from aiidpd.kernel.views import View, Views

NUMBER: View[int] = View("number")


def test_what_is_offered_is_read_anew_each_time() -> None:
    views, readings = Views(), [Reading(1, 0.0, 0.0), None]
    views.offer(NUMBER, lambda: readings.pop(0))
    assert views.get(NUMBER) == Reading(1, 0.0, 0.0)
    assert views.get(NUMBER) is None


def test_what_nobody_offers_is_not_known() -> None:
    assert Views().get(NUMBER) is None


def test_a_view_has_one_source() -> None:
    views = Views()
    views.offer(NUMBER, lambda: None)
    with pytest.raises(ValueError, match="number is offered twice"):
        views.offer(NUMBER, lambda: None)
