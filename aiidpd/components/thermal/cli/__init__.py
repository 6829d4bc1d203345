"""Commands of aiidpctl about GPUs."""
