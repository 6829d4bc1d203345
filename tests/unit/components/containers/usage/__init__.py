"""Tests of what containers use."""
