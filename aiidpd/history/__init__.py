"""History: events, samples and budgets, over restarts, in one SQLite file."""
