"""What leaves the daemon for people and Prometheus: the log and the exposition."""
