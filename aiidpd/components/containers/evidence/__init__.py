"""Evidence of containers for incidents: those that ran, and what a heal would destroy."""
