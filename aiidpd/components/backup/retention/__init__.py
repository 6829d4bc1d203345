"""Retention: snapshots that are kept, with every reason, and those that go."""
