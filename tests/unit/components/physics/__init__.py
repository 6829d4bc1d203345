"""Tests of the component physics."""
