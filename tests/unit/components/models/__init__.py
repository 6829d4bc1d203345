"""Tests of the component models."""
