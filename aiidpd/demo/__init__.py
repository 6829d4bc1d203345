"""What `aiidpd demo` and `make run` make where the machine has nothing of its own."""
