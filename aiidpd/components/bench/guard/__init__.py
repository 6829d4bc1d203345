"""Upgrade guard: another image is tried, measured beside the old one, and kept or taken back."""
