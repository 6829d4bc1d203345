"""Adapter to the Docker Engine."""
