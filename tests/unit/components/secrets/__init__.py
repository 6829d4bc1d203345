"""Tests of the component secrets."""
