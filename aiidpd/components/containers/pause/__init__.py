"""Pauses containers while a GPU is too hot, and always lets them go on."""
