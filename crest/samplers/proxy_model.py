"""A proxy: a small model that trains beside the large one and scores candidates for it.

It scores the very views that the large model will be trained on, for a fraction of the cost.
Coleman et al., *Selection via Proxy*, ICLR 2020, arXiv 1906.11829, train theirs first; that it may
train beside the large model, on a part of what it scores, is airbench's (Jordan, 2024).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from crest.devices.generators import torch_seed
from crest.devices.transfer import on_device
from crest.errors import TrainingError
from crest.inference.evaluator import Evaluator
from crest.inference.flops import count_flops
from crest.inference.folding import FoldingEvaluator
from crest.inference.forward import ForwardPass
from crest.parameters.shared import ProxyModelParameters
from crest.samplers.base import Context

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP = 0.1  # share of the steps over which its rate rises


class ProxyModel:
    """A model of its own that scores candidates, and is trained on every k-th batch of them.

    SGD with momentum, its rate a cosine over the run after a warm-up. Every process trains it
    alike; they share the scoring.

    Parameters
    ----------
    context
        What the method may use; its ``build_model`` makes the network.
    parameters
        Which network, its learning rate, and k.

    Raises
    ------
    ParameterError
        If there is no such model, or it is none for these examples.
    """

    def __init__(self, context: Context[Any], parameters: ProxyModelParameters) -> None:
        device = context.precision.device
        self._model = context.build_model(parameters.model).to(device)
        self._split = context.train
        self._precision = context.precision
        self._seed = context.generator.initial_seed()
        self._interval = parameters.interval
        self._rate = parameters.lr
        self._evaluator = FoldingEvaluator.of(
            Evaluator(self._model, context.train, context.precision, context.group)
        )
        self._optimizer = SGD(
            self._model.parameters(),
            lr=parameters.lr,
            momentum=MOMENTUM,
            nesterov=True,
            weight_decay=WEIGHT_DECAY,
            foreach=True,
        )
        self._flops = count_flops(self._model, context.train)
        self._batches = 0
        self._learned = 0
        self._scored = 0

    @property
    def model(self) -> nn.Module:
        """The network, on its device."""
        return self._model

    @property
    def scored(self) -> int:
        """Examples scored so far."""
        return self._scored

    @property
    def flops(self) -> float | None:
        """FLOP spent so far, on scoring and on training; None where they cannot be counted."""
        if self._flops is None:
            return None
        return self._scored * self._flops.forward + self._learned * self._flops.step

    def score(self, indices: Tensor, draws: Tensor, progress: float) -> ForwardPass:
        """Score a batch of candidates, then train on it if it is a k-th one.

        Parameters
        ----------
        indices
            int64, k.
        draws
            Of their views, k rows.
        progress
            Share of the run's steps that were taken.

        Raises
        ------
        TrainingError
            If a loss is not a finite number.
        """
        scored = self._evaluator.score(indices, draws=draws)
        loss = float(scored.losses.double().sum())
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of the model that scores candidates is {loss}: lower "
                "batch_selection.proxy_model.lr, or mend examples that hold NaN or infinity"
            )
        self._scored += len(indices)
        self.prepare(indices, draws, progress)
        return scored

    def prepare(self, indices: Tensor, draws: Tensor, progress: float) -> None:
        """Train on a batch of candidates if it is a k-th one; arguments as of :meth:`score`."""
        if self._batches % self._interval == 0:
            self._learn(indices, draws, progress)
        self._batches += 1

    def state_dict(self) -> dict[str, Any]:
        """Return weights, momentum and counts."""
        momentum = [
            self._optimizer.state.get(weight, {}).get("momentum_buffer")
            for weight in self._model.parameters()
        ]
        return {
            "model": {name: value.clone() for name, value in self._model.state_dict().items()},
            "momentum": [None if value is None else value.clone() for value in momentum],
            "batches": self._batches,
            "learned": self._learned,
            "scored": self._scored,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of training."""
        self._model.load_state_dict(state["model"])
        for weight, momentum in zip(self._model.parameters(), state["momentum"], strict=True):
            if momentum is not None:
                # Laid out as the weight is, which the values do not show.
                kept = torch.empty_like(weight).copy_(momentum)
                self._optimizer.state[weight]["momentum_buffer"] = kept
        self._batches = state["batches"]
        self._learned = state["learned"]
        self._scored = state["scored"]

    def _learn(self, indices: Tensor, draws: Tensor, progress: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * one_cycle(progress)
        labels = on_device(self._split.labels[indices], self._precision.device)
        device = self._precision.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # Dropout: the same on every process and after a stop, and nobody else's draws.
            torch.manual_seed(torch_seed(self._seed + self._batches))
            self._model.train()
            with self._precision.autocast():
                logits = self._model(self._split.views(indices, draws))
            self._optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits.float(), labels).backward()
        self._optimizer.step()
        self._learned += len(indices)


def one_cycle(progress: float) -> float:
    """Return the share of the peak rate after a share of the run: up evenly, down as a cosine."""
    if progress < WARM_UP:
        return (progress + 1e-3) / (WARM_UP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
