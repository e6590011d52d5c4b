"""Kills, cut links, other checkouts and all sorts of models."""
