"""Signals: readings validated once, with their bounds, thresholds and windows."""
