"""The GPUs: what they read, how hot they are, and what is done about it."""
