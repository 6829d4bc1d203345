"""Re-creation of a container that loses nothing: by compose where it made it, else from its description."""
