"""How long steps and stages take."""
