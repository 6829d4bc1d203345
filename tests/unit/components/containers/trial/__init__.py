"""Trials of images."""
