"""Mini-batches that are selected from more candidates than are trained on."""

from crest.samplers.batch_selection.sampler import BatchSelection

__all__ = ["BatchSelection"]
