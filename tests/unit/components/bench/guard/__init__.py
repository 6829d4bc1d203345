"""Upgrade guard."""
