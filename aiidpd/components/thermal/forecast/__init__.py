"""Forecasts of temperature, and of the cooling's state."""
