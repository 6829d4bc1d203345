"""Checks of the daemon itself, for `aiidpd doctor`."""
