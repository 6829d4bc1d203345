"""Pauses containers while a GPU is too hot, and unpauses them whatever happens."""
