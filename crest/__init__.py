"""CREST: mini-batch coresets for stochastic gradient descent (Yang et al., ICML 2023).

In a loop of one's own, for ``model``, ``optimizer``, ``images`` and ``labels``:

>>> from crest import Coresets
>>> coresets = Coresets(
...     model, lambda indices: images[indices], labels, steps=200, batch_size=32, subset_size=64
... )
>>> for indices, weights in coresets:
...     losses = F.cross_entropy(model(images[indices]), labels[indices], reduction="none")
...     optimizer.zero_grad()
...     (losses * weights).mean().backward()
...     optimizer.step()
...     coresets.step()

What was chosen outlives the run, for other models and other loops:

>>> from crest import read_coresets
>>> coresets.save(folder)
>>> for indices, weights in read_coresets(folder, labels).minibatches(steps=100):
...     losses = F.cross_entropy(model(images[indices]), labels[indices], reduction="none")
...     optimizer.zero_grad()
...     (losses * weights).mean().backward()
...     optimizer.step()

A DataLoader takes them too: :class:`CoresetBatchSampler` and :class:`Weighted`. Its workers decode
what :class:`Coresets` choose while training goes on: :meth:`Coresets.batch_sampler`.
"""

from importlib import import_module
from typing import TYPE_CHECKING
from warnings import warn

if TYPE_CHECKING:
    from crest.coresets import Coresets
    from crest.errors import (
        ArtifactError,
        CrestError,
        OrderError,
        ParameterError,
        TrainingError,
    )
    from crest.label_noise import LabelNoise, estimate_label_noise
    from crest.loop_support.options import economical
    from crest.models.checkpointing import checkpoint_activations
    from crest.samplers.indexed import Indexed
    from crest.samplers.loading import CoresetBatchSampler, Weighted
    from crest.samplers.loss_batches import LossBatchSampler
    from crest.samplers.saved import SavedCoresets, read_coresets

__all__ = [
    "ArtifactError",
    "CoresetBatchSampler",
    "Coresets",
    "CrestError",
    "Indexed",
    "LabelNoise",
    "LossBatchSampler",
    "OrderError",
    "ParameterError",
    "SavedCoresets",
    "TrainingError",
    "Weighted",
    "checkpoint_activations",
    "economical",
    "estimate_label_noise",
    "read_coresets",
]

# Imported when they are asked for: PyTorch takes seconds, and most of the library needs less.
_MODULES = {
    "ArtifactError": "crest.errors",
    "CoresetBatchSampler": "crest.samplers.loading",
    "Coresets": "crest.coresets",
    "CrestError": "crest.errors",
    "Indexed": "crest.samplers.indexed",
    "LabelNoise": "crest.label_noise",
    "LossBatchSampler": "crest.samplers.loss_batches",
    "OrderError": "crest.errors",
    "ParameterError": "crest.errors",
    "SavedCoresets": "crest.samplers.saved",
    "TrainingError": "crest.errors",
    "Weighted": "crest.samplers.loading",
    "checkpoint_activations": "crest.models.checkpointing",
    "estimate_label_noise": "crest.label_noise",
    "economical": "crest.loop_support.options",
    "read_coresets": "crest.samplers.saved",
}

# What names of before are called now: they go on working, with a word.
_RENAMED = {"focused": "economical"}

if not TYPE_CHECKING:  # a checker would take every name for one of ours

    def __getattr__(name):
        """Import a public name from the module it lives in."""
        if name in _RENAMED:
            now = _RENAMED[name]
            warn(f"crest.{name} is called crest.{now} now", FutureWarning, stacklevel=2)
            return __getattr__(now)
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
