"""Contracts: the typed messages and views that cross between components, pure."""
