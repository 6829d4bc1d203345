"""Tests of the physics of inference."""
