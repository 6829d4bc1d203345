"""The commands of aiidpctl about GPUs."""
