"""Measures how fast an inference endpoint really answers: time to first token, time per output token."""
