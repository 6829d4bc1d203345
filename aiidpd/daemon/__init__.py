"""Composition root: builds the daemon, runs it, and answers for it as a whole."""
