"""Online batch selection: candidates are scored, and some of them make the mini-batch.

Loshchilov and Hutter, *Online Batch Selection for Faster Training of Neural Networks*, 2015, arXiv
1511.06343; Katharopoulos and Fleuret, *Not All Samples Are Created Equal*, ICML 2018, arXiv
1803.00942.
"""

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from crest.data.prepared import Expecting, Keeping
from crest.devices.generators import copy_of
from crest.errors import OrderError, ParameterError
from crest.samplers.base import Context, Record
from crest.samplers.batch_selection.candidates import Candidates
from crest.samplers.batch_selection.choices import choice_of
from crest.samplers.batch_selection.scorers import scorer_of
from crest.samplers.passes import Passes
from crest.samplers.random import check_fits
from crest.samplers.stratified_passes import StratifiedPasses
from crest.selection.coresets import MiniBatchCoreset, Outputs

if TYPE_CHECKING:
    from crest.methods.batch_selection import BatchSelectionParameters


class BatchSelection:
    """Yields mini-batches of exactly m of those candidates that were kept, in their order.

    Candidates come without replacement through each epoch, all together or each class's share by
    itself. Their views are drawn with them: what is scored is what is trained on, bit for bit.
    Until there is something to score by, all are kept.

    Raises
    ------
    ParameterError
        If there are more candidates for a mini-batch than training examples.
    """

    def __init__(self, context: "Context[BatchSelectionParameters]") -> None:
        parameters = context.parameters
        self._size = context.batch_size
        self._context = context
        self._generator = context.generator
        self._start = round(parameters.start * context.steps)
        self._scorer = scorer_of(context)
        self._keep = choice_of(parameters, self._scorer.model, context.label_smoothing)
        self._at_once = self._keep.candidates(self._size)
        check_fits(self._size, len(context.train))
        if self._at_once > len(context.train):
            raise ParameterError(
                f"batch_selection.share: {parameters.share:g} asks for {self._at_once} candidates "
                f"of {len(context.train)} training examples; raise it"
            )
        self._labels = context.train.labels
        self._passes: Passes | StratifiedPasses = Passes(len(self._labels), context.generator)
        if parameters.draw == "stratified_without_replacement":
            self._passes = StratifiedPasses(self._labels, context.generator)
        self._kept: Candidates | None = None
        self._waiting: deque[Tensor] = deque()  # features of mini-batches that are not reported yet
        self._reported = 0
        self._drawn = 0
        self._seconds = 0.0

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Keep candidates until there are m.

        Raises
        ------
        TrainingError
            If a score is not a finite number.
        """
        while self._kept is None or len(self._kept) < self._size:
            some = self._some_kept(step)
            self._kept = some if self._kept is None else Candidates.joined(self._kept, some)
        taken, self._kept = self._kept[: self._size], self._kept[self._size :]
        self._waiting.append(taken.features)
        self._keep_images(taken.indices, taken.draws)
        self._expect(taken, step + 1)
        return MiniBatchCoreset(taken.indices, taken.weights, draws=taken.draws)

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Let the scorer learn from the step.

        Raises
        ------
        OrderError
            If its loop did not give the logits.
        """
        if outputs is None:
            raise OrderError(
                "batch_selection: what training computes is learned from, but the step came "
                "without its logits; pass them: step(logits)"
            )
        started = time.perf_counter()
        features = self._waiting.popleft()
        self._scorer.learn(minibatch.indices, features, outputs, self._reported)
        self._reported += 1
        self._seconds += time.perf_counter() - started

    def state_dict(self) -> dict[str, Any]:
        """Return what is left of the epoch and of what was kept, the scorer, the generator."""
        return {
            "passes": self._passes.state_dict(),
            "kept": None if self._kept is None else dict(vars(self._kept)),
            "waiting": list(self._waiting),
            "scorer": self._scorer.state_dict(),
            "keep": self._keep.state_dict(),
            "reported": self._reported,
            "drawn": self._drawn,
            "seconds": self._seconds,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the next step."""
        self._passes.load_state_dict(state["passes"])
        self._kept = None if state["kept"] is None else Candidates(**state["kept"])
        self._waiting = deque(state["waiting"])
        self._scorer.load_state_dict(state["scorer"])
        self._keep.load_state_dict(state["keep"])
        self._reported = state["reported"]
        self._drawn = state["drawn"]
        self._seconds = state["seconds"]
        self._generator.set_state(state["generator"])

    def record(self) -> Record:
        """Return what scoring took, and how many candidates there were."""
        counts = {"candidates": self._drawn, **self._scorer.counts()}
        return Record(seconds={"select": self._seconds}, counts=counts)

    def _some_kept(self, step: int) -> Candidates:
        """Return those of the next candidates that are kept, in their order."""
        started = time.perf_counter()
        found = self._chosen(step) if self._chooses(step) else self._all(step)
        self._seconds += time.perf_counter() - started
        return found

    def _chooses(self, step: int) -> bool:
        """Whether candidates are scored, and some of them kept."""
        return step >= self._start and self._scorer.is_ready(step)

    def _chosen(self, step: int) -> Candidates:
        indices, draws = self._draw(self._at_once)
        scores = self._scorer.score(indices, draws, step)
        labels = self._labels[indices]
        places, weights = self._keep.keep(scores, labels, self._size, self._generator)
        return Candidates(indices[places], draws[places], weights, scores.features[places])

    def _all(self, step: int) -> Candidates:
        indices, draws = self._draw(self._size)
        scores = self._scorer.prepare(indices, draws, step)
        return Candidates(indices, draws, torch.ones(self._size), scores.features)

    def _expect(self, taken: Candidates, step: int) -> None:
        """Let the views of a mini-batch be made, and then those that the next step begins with.

        What is trained on next is not known before it is scored; what is scored is.
        """
        train = self._context.train
        if not isinstance(train, Expecting) or not self._context.group.alone:
            return
        indices, draws = self._foreseen(step)
        train.expect(torch.cat([taken.indices, indices]), torch.cat([taken.draws, draws]))

    def _foreseen(self, step: int) -> tuple[Tensor, Tensor]:
        """Return what a step will make views of first, and their draws, without drawing them."""
        assert self._kept is not None
        if len(self._kept) >= self._size:
            return self._kept.indices[: self._size], self._kept.draws[: self._size]
        scores = self._chooses(step)
        count = self._at_once if scores else self._size
        if scores and not self._scorer.sees_views:
            count = 0
        copy = copy_of(self._generator)
        indices = self._passes.foreseen(count, copy)
        draws = self._context.train.draw_views(count, copy)
        flips = self._context.flips
        return indices, draws if flips is None else flips.put(indices, draws)

    def _draw(self, count: int) -> tuple[Tensor, Tensor]:
        self._drawn += count
        indices = self._passes.take(count)
        draws = self._context.draw_views(indices)
        self._keep_images(indices, draws)
        return indices, draws

    def _keep_images(self, indices: Tensor, draws: Tensor) -> None:
        """Have what is scored made once: the images of these, and those kept for later steps."""
        train = self._context.train
        if not isinstance(train, Keeping) or not self._scorer.sees_views:
            return
        if self._kept is not None:
            indices = torch.cat([indices, self._kept.indices])
            draws = torch.cat([draws, self._kept.draws])
        train.keep(indices, draws)
