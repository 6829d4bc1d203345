"""GPUs over the API."""
