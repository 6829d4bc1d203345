"""Command ``aiidpctl``. Imports the client of the control API and its own rendering, nothing else."""
