"""Audit: how containers, their engine, this machine and its models are secured; rules, findings, mending."""
