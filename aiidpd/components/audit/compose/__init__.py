"""Compose files: read within bounds, turned into facts, changed line by line."""
