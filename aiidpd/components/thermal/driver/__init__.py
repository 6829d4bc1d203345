"""NVML driver: a client in the daemon, and the process that calls the library."""
