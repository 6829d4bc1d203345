"""Incidents: what was so before and after something went wrong, as components contribute it."""
