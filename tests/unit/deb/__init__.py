"""Tests of packaging/deb."""
