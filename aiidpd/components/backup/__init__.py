"""Backups of the model folder: scheduled, copied, verified, and visible only when whole."""
