"""Forecasts of temperature, and of the state of the cooling."""
