"""The daemon's dealings with the operating system, one module for each."""
