"""What the GPUs take, and whose it is."""
