"""Finds out where an endpoint became slower than it was, since when, and what changed with it."""
