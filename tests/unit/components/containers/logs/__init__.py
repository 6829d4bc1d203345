"""Tests of the logs of containers."""
