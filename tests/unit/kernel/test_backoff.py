"""The restart policy: capped, growing, spread, and forgiving of a worker that ran long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.kernel.backoff import Backoff

uniforms = st.floats(0, 1, exclude_max=True)


@given(failures=st.integers(1, 10**6), uniform=uniforms)
def test_a_delay_stays_within_the_cap_and_its_jitter(failures: int, uniform: float):
    backoff = Backoff(initial=0.5, cap=60, jitter=0.2)
    assert 0.4 <= backoff.delay(failures, uniform) <= 72


@given(failures=st.integers(1, 100), uniform=uniforms)
def test_delays_never_shrink_as_failures_add_up(failures: int, uniform: float):
    backoff = Backoff()
    assert backoff.delay(failures + 1, uniform) >= backoff.delay(failures, uniform)


def test_the_row_doubles_from_the_first_failure():
    backoff = Backoff(initial=0.5, factor=2, jitter=0)
    assert [backoff.delay(n, 0.5) for n in (1, 2, 3, 4)] == [0.5, 1, 2, 4]


@given(failures=st.integers(0, 1000), ran_for=st.floats(0, 1e6))
def test_a_long_run_starts_a_new_row(failures: int, ran_for: float):
    backoff = Backoff(settled_after=120)
    assert backoff.failures(failures, ran_for) == (1 if ran_for >= 120 else failures + 1)
