"""Liveness of inference engines by their progress: verdicts with their evidence."""
