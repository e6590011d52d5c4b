"""What candidates are scored by: a new scorer is a class here and a line in :func:`scorer_of`."""

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from crest.inference.flops import count_flops
from crest.inference.folding import FoldingEvaluator
from crest.inference.forward import ForwardPass, require_finite
from crest.samplers.base import Context
from crest.samplers.batch_selection.candidates import Scores
from crest.samplers.batch_selection.expectation import Expectation, features_of
from crest.samplers.example_tracker import error_norms
from crest.samplers.proxy_model import ProxyModel
from crest.selection.coresets import NO_REGION, Outputs

if TYPE_CHECKING:
    from crest.methods.batch_selection import BatchSelectionParameters

LEAST_PASSES = 2  # of visits that an expectation is learned from before it counts


class Scorer(Protocol):
    """Scores candidates under the views that they would be trained on."""

    @property
    def model(self) -> nn.Module:
        """The network that scores, or else the one that is trained."""
        ...

    def is_ready(self, step: int) -> bool:
        """Whether it tells something of candidates before step ``step``."""
        ...

    @property
    def sees_views(self) -> bool:
        """Whether candidates are scored by their views."""
        ...

    def score(self, indices: Tensor, draws: Tensor, step: int) -> Scores:
        """Score k candidates, before step ``step``."""
        ...

    def prepare(self, indices: Tensor, draws: Tensor, step: int) -> Scores:
        """Take note of k candidates that are all kept, as nothing is chosen yet."""
        ...

    def learn(self, indices: Tensor, features: Tensor, outputs: Outputs, step: int) -> None:
        """Take note of what a step knew; ``features`` are those of its examples' scores."""
        ...

    def counts(self) -> dict[str, int]:
        """Return how many examples were scored, and the FLOP of it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        ...


class ByModel:
    """Scores by a forward pass of the model that is trained."""

    def __init__(self, context: Context[Any]) -> None:
        self._smoothing = context.label_smoothing
        self._evaluator = FoldingEvaluator.of(context.evaluator)
        self._flops = count_flops(context.model, context.train)
        self._scored = 0

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self._evaluator.model

    def is_ready(self, step: int) -> bool:
        """It is from the first step on."""
        return True

    @property
    def sees_views(self) -> bool:
        """They are."""
        return True

    def score(self, indices: Tensor, draws: Tensor, step: int) -> Scores:
        """Score by a forward pass.

        Raises
        ------
        TrainingError
            If a loss is not a finite number.
        """
        scored = self._evaluator.score(indices, draws=draws)
        require_finite(scored, step, NO_REGION)
        self._scored += len(indices)
        return Scores(norms_of(scored, self._smoothing), nothing_of(indices), scored)

    def prepare(self, indices: Tensor, draws: Tensor, step: int) -> Scores:
        """Score nothing."""
        return unknown(indices, 0)

    def learn(self, indices: Tensor, features: Tensor, outputs: Outputs, step: int) -> None:
        """Learn nothing."""

    def counts(self) -> dict[str, int]:
        """Return what the forward passes were."""
        flops = self._flops
        return counted(self._scored, None if flops is None else self._scored * flops.forward)

    def state_dict(self) -> dict[str, Any]:
        """Return how many were scored."""
        return {"scored": self._scored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it over."""
        self._scored = state["scored"]


class ByProxy:
    """Scores by a proxy, see :class:`crest.samplers.proxy_model.ProxyModel`."""

    def __init__(self, proxy: ProxyModel, steps: int, smoothing: float = 0.0) -> None:
        self._proxy = proxy
        self._smoothing = smoothing
        self._steps = steps

    @property
    def model(self) -> nn.Module:
        """The proxy's network."""
        return self._proxy.model

    def is_ready(self, step: int) -> bool:
        """It is from the first step on."""
        return True

    @property
    def sees_views(self) -> bool:
        """They are."""
        return True

    def score(self, indices: Tensor, draws: Tensor, step: int) -> Scores:
        """Score by a forward pass of the proxy; every k-th batch trains it.

        Raises
        ------
        TrainingError
            If a loss of the proxy's is not a finite number.
        """
        scored = self._proxy.score(indices, draws, step / self._steps)
        return Scores(norms_of(scored, self._smoothing), nothing_of(indices), scored)

    def prepare(self, indices: Tensor, draws: Tensor, step: int) -> Scores:
        """Train the proxy on every k-th batch."""
        self._proxy.prepare(indices, draws, step / self._steps)
        return unknown(indices, 0)

    def learn(self, indices: Tensor, features: Tensor, outputs: Outputs, step: int) -> None:
        """Learn nothing."""

    def counts(self) -> dict[str, int]:
        """Return what the proxy's passes were."""
        return counted(self._proxy.scored, self._proxy.flops)

    def state_dict(self) -> dict[str, Any]:
        """Return the proxy's state."""
        return self._proxy.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the proxy's state."""
        self._proxy.load_state_dict(state)


class ByMemory:
    """Expects an example's gradient by that of its last visit, and by a proxy where there is one.

    See :mod:`crest.samplers.batch_selection.expectation`. Unknown until two passes were learned
    from, and of an example that was never trained on.

    Parameters
    ----------
    context
        What the method may use.
    proxy
        Scores the candidates' views; None for what is remembered alone.
    """

    def __init__(self, context: Context[Any], proxy: ProxyModel | None) -> None:
        count = len(context.train)
        self._trained = context.model
        self._smoothing = context.label_smoothing
        self._proxy = proxy
        self._steps = context.steps
        self._steps_a_pass = count / context.batch_size
        self._width = 7 if proxy is None else 10
        self._expectation = Expectation(self._width)
        self._norms = torch.full((count,), torch.nan)
        self._visited = torch.zeros(count, dtype=torch.int32)

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self._trained

    def is_ready(self, step: int) -> bool:
        """Whether two passes were learned from."""
        return step >= LEAST_PASSES * self._steps_a_pass

    @property
    def sees_views(self) -> bool:
        """They are where there is a proxy."""
        return self._proxy is not None

    def score(self, indices: Tensor, draws: Tensor, step: int) -> Scores:
        """Expect norms, without a forward pass of the model that is trained."""
        proxy = None
        if self._proxy is not None:
            scored = self._proxy.score(indices, draws, step / self._steps)
            proxy = norms_of(scored, self._smoothing)
        passes = (step - self._visited[indices]) / self._steps_a_pass
        features = features_of(self._norms[indices], passes, proxy)
        if not self.is_ready(step):
            return Scores(unknown(indices, 0).norms, features)
        return Scores(self._expectation.expect(features), features)

    def prepare(self, indices: Tensor, draws: Tensor, step: int) -> Scores:
        """Score them to learn from."""
        return Scores(unknown(indices, 0).norms, self.score(indices, draws, step).features)

    def learn(self, indices: Tensor, features: Tensor, outputs: Outputs, step: int) -> None:
        """Learn what was to be expected of a step's examples, and remember them."""
        norms = error_norms(outputs.logits, outputs.labels, self._smoothing).cpu()
        usable = features.isfinite().all(1) & norms.isfinite()
        self._expectation.learn(features[usable], norms[usable])
        known = norms.isfinite()  # a step that a gradient scaler skipped may know nothing
        self._norms[indices[known]] = norms[known]
        self._visited[indices[known]] = step

    def counts(self) -> dict[str, int]:
        """Return what the proxy's passes were; without one there were none."""
        if self._proxy is None:
            return counted(0, 0.0)
        return counted(self._proxy.scored, self._proxy.flops)

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, and what is expected by it."""
        return {
            "proxy": None if self._proxy is None else self._proxy.state_dict(),
            "expectation": self._expectation.state_dict(),
            "norms": self._norms.clone(),
            "visited": self._visited.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them over."""
        if self._proxy is not None:
            self._proxy.load_state_dict(state["proxy"])
        self._expectation.load_state_dict(state["expectation"])
        self._norms = state["norms"].clone()
        self._visited = state["visited"].clone()


def scorer_of(context: "Context[BatchSelectionParameters]") -> Scorer:
    """Return what candidates are scored by, as ``batch_selection.score_by`` says."""
    name = context.parameters.score_by
    if name == "model":
        return ByModel(context)
    if name == "memory":
        return ByMemory(context, None)
    proxy = ProxyModel(context, context.parameters.proxy_model)
    if name == "proxy":
        return ByProxy(proxy, context.steps, context.label_smoothing)
    return ByMemory(context, proxy)


def counted(examples: int, flops: float | None) -> dict[str, int]:
    """Return how many examples were scored, and the FLOP of it where they are known."""
    known = {} if flops is None else {"flop_select": round(flops)}
    return {"examples_scored": examples, **known}


def norms_of(scored: ForwardPass, smoothing: float = 0.0) -> Tensor:
    """‖p − y‖ of each example of a forward pass, y smoothed; float32 k, on the CPU."""
    return error_norms(scored.logits, scored.labels, smoothing).cpu()


def nothing_of(indices: Tensor) -> Tensor:
    """Return the features of k candidates of which nothing is kept; float32 k×0."""
    return torch.empty(len(indices), 0)


def unknown(indices: Tensor, width: int) -> Scores:
    """Return scores that tell nothing of k candidates."""
    return Scores(torch.full((len(indices),), torch.nan), torch.empty(len(indices), width))
