"""The flight recorder: what was read before and after something went wrong."""
