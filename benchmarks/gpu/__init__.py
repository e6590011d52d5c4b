"""What waits for a GPU, in order of worth: docs/gpu.md says how it is run."""
