"""What the daemon costs: ``python -m bench.NAME`` prints its figures, the last line one JSON object."""
