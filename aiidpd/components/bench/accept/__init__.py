"""Acceptance of an endpoint: criteria, what is measured for them, verdicts, reports."""
