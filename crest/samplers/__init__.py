"""Samplers: what draws the mini-batches of each method."""
