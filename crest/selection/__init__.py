"""Selection: last-layer gradients, facility location, mini-batch coresets with weights."""
