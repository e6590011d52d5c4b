"""LossBatchSampler in other libraries' loops and trainers."""
