"""Kernel of the daemon. Imports the standard library and anyio, never a sibling."""
