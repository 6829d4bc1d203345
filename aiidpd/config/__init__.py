"""The typed configuration: layers, checks, origins, and what a reload changes."""
