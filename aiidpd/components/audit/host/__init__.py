"""Readers of what an audit needs of this machine."""
