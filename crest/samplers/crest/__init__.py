"""CREST: mini-batch coresets within regions where a quadratic model of the loss holds."""

from crest.samplers.crest.algorithm import Crest

__all__ = ["Crest"]
