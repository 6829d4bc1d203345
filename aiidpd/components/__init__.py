"""Capabilities of the daemon, one folder each; none imports another."""
