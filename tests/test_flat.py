"""What a region costs does not depend on how many training examples there are."""

from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from crest.data.augment import Augmentation
from crest.samplers.crest import Crest
from crest.training.loop import train
from tests.tiny import FLOAT32, context, image_split

EXAMPLES = 30_000  # more than any other array is long
STEPS = 25  # one more window of 20 steps, whose learned examples leave V, and some

# They touch as many places of an array as they are given indices, or only make a view of it.
FEW_PLACES = {
    "aten.index.Tensor",
    "aten.index_select.default",
    "aten.index_add_.default",
    "aten.index_copy_.default",
    "aten.index_fill_.int_Scalar",
    "aten.index_put_.default",
    "aten.scatter_reduce_.two",
    "aten.select.int",
    "aten.slice.Tensor",
    "aten.detach.default",
    "aten.alias.default",
}


class Passes(TorchDispatchMode):
    """Counts operations that go through all of an array as long as the data, and the others."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: Counter[str] = Counter()
        self.few = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        tensors = [value for value in (*arguments, result) if isinstance(value, Tensor)]
        if any(tensor.dim() and len(tensor) >= EXAMPLES for tensor in tensors):
            if str(function) in FEW_PLACES:
                self.few += 1
            else:
                self.whole[str(function)] += 1
        return result


SETTINGS = {
    "ahead": {"selection": "ahead"},
    "on_demand": {"selection": "on_demand"},
    # A round begins at the first step, and serves more steps than are watched.
    "focused": {
        "selection": "on_demand",
        "outputs": "remembered",
        "draw": "without_replacement",
        "focus": 0.5,
        "subset_coresets": 4,
        "choice": "spatially_balanced",
        "gradient": "training",
        "region_loss": "filtered",
    },
}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_no_operation_of_a_region_goes_through_all_of_the_data(name: str) -> None:
    split = image_split(EXAMPLES, augmentation=Augmentation(1, True))
    crest = {"subset_size": 32, "threshold": 1e-12, "interval_factor": 1e-6, "learned_loss": 5.0}
    run = context(split=split, steps=STEPS, crest={**crest, **SETTINGS[name]})
    method, passes = Crest(run), Passes()

    def watch_from_the_first_step_to_the_last(taken: int) -> None:
        if taken == 1:
            passes.__enter__()
        if taken == STEPS - 1:
            passes.__exit__(None, None, None)

    done = train(
        run.model,
        method,
        split,
        None,
        STEPS,
        run.settings.train,
        FLOAT32,
        watch_from_the_first_step_to_the_last,
    )
    assert done.record.regions is not None
    steps_of_a_region = SETTINGS[name].get("subset_coresets", 1)
    assert len(done.record.regions) == -(-STEPS // steps_of_a_region)
    assert done.record.scored is not None
    # An example comes once in a round, too seldom to be learned within a window.
    assert (done.record.scored["excluded_at"] >= 0).any() == (name != "focused")
    assert passes.few > 0
    assert not passes.whole


def test_the_watch_sees_a_pass() -> None:
    with Passes() as passes:
        torch.ones(EXAMPLES).sum()
        torch.randperm(EXAMPLES)
    assert set(passes.whole) == {"aten.ones.default", "aten.sum.default", "aten.randperm.default"}
