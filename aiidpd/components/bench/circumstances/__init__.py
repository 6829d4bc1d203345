"""Circumstances of measurements: what was so while an endpoint answered."""
