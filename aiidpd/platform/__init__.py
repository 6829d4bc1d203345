"""Dealings with the operating system, one module for each."""
