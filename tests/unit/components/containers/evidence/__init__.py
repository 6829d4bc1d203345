"""Tests of the evidence of containers."""
