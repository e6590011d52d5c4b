"""How long data take to prepare."""
