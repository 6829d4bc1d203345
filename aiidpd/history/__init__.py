"""What happened and what was measured, kept across restarts in one SQLite file: events, samples, budgets."""
