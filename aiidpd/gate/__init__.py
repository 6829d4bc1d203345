"""Gate before the Docker Engine: a process that holds its socket and lets an allow-list through."""
