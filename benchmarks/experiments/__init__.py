"""Experiments: runs from files, saved as they go, and the tables of docs/results/."""
