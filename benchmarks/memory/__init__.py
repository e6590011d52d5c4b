"""How much memory runs take, and by what."""
