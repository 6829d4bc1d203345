"""Stand-ins that tests control. What is simulated says so in its name."""
