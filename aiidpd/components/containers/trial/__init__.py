"""Trial of another image in the place of a container, which comes back unless the new one is kept."""
