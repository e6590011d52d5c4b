"""Parameters: what may be set, and of what type."""
