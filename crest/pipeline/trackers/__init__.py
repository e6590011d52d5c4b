"""Trackers: a module each, of the name that run.track has for it; ``start`` begins a curve."""
