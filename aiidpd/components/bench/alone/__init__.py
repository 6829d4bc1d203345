"""Requests that are sent while an engine serves nobody else, and dropped where that changes."""
