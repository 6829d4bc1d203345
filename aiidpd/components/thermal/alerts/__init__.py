"""Alerts about GPUs, one file a group; :mod:`.evaluate` puts them together."""
