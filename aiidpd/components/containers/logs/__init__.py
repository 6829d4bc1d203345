"""Logs of containers: their newest lines, failures that have a name, storms of lines, GPUs that were lost."""
