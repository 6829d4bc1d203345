"""Figures inside sentences for people (pure)."""

from __future__ import annotations


def lasting(seconds: float) -> str:
    """Return a duration in whole seconds; one that would round to nothing is less than a second, not 0."""
    return "less than a second" if seconds < 1 else f"{seconds:.0f} s"


def apart(difference: float, what: str) -> str:
    """Return how many °C above or below ``what`` a ``difference`` of a temperature from it is."""
    if not round(difference, 1):
        return f"at {what}"
    return f"{abs(difference):.3g} °C {'above' if difference > 0 else 'below'} {what}"
