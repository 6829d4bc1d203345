"""The four workers. Each folder is a room of its own; none imports another."""
