"""Comparison of two endpoints by interleaved pairs, and of two periods of one by its history."""
