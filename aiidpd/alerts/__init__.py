"""Alerts: one state machine and one manager for those of every component."""
