"""Inference engines: how each is measured, and the pages that it shows."""
