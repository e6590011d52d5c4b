"""How good what cheaper choosing gives is, and what the tables of examples find."""
