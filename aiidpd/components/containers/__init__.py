"""Containers of one runtime: those that run, died, are sick. See reducer.py first."""
