"""Alerts about GPUs, one module a group; :mod:`.evaluate` puts them together."""
