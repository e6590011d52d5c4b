"""CREST: mini-batch coresets for stochastic gradient descent (Yang et al., ICML 2023)."""
