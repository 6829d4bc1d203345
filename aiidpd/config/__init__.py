"""Typed configuration: layers, checks, origins, and what a reload changes."""
