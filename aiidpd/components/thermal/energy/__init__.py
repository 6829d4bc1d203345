"""Energy of GPUs, and its attribution to containers and tokens."""
