"""Files that others wrote: the hub's, checkpoints, YAML, CSV."""
