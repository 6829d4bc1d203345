"""Limits that no measurement can pass, speeds to expect, and what fits into memory beside the weights."""
