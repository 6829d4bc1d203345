"""Archive for a report of a fault: what is known of a daemon and its machine, without secrets."""
