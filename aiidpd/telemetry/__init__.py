"""Telemetry: the log for people and the exposition for Prometheus."""
