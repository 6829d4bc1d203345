"""What is worth waking somebody for: one state machine and one board for the alerts of every worker."""
