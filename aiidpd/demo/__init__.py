"""Demonstration: what ``aiidpd demo`` and ``make run`` add to the daemon.

They find out what the machine has, simulate what is missing, and draw the state on the terminal. The daemon
itself never chooses a simulated part: the demo writes an ordinary configuration that does.
"""
