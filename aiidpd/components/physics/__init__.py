"""Estimates of speed and capacity, and claims held against physics: commands that need no daemon."""
