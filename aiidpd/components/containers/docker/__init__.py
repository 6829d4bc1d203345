"""The adapter to the Docker Engine."""
