"""Costs of the daemon: ``python -m bench.NAME`` prints figures, the last line one JSON object."""
