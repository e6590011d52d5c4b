"""Files that others wrote: the hub's, checkpoints', YAML, cells of CSV."""
