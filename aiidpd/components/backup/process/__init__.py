"""Program that reads and writes backups: a process of its own, of the standard library alone."""
