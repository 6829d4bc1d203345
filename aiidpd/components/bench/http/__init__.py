"""What speaks HTTP to an inference server: the only folder that imports httpx."""
