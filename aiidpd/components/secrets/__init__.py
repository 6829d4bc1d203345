"""Keys of inference servers: made, listed, verified, rotated. By commands alone: the daemon has no part."""
