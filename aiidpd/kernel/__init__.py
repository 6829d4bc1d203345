"""What every worker stands on. Imports the standard library and anyio, never a sibling."""
