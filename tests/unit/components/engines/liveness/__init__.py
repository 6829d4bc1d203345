"""Tests of the liveness of engines."""
