"""Cools a GPU before its driver throttles it, and always puts it back: see docs/operations.md."""
