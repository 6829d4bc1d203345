"""The containers of one engine: what runs, what died, what is sick. See policy.py first."""
