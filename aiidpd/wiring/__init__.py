"""Turns the configuration into parts: the only room that knows every other."""
