"""Re-creation of containers."""
