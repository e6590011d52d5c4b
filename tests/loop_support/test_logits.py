"""What a loop hands over as logits: taken where it is certain, else refused in words."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from crest.errors import ParameterError
from crest.loop_support.logits import logits_of, refuse_probabilities

EXAMPLES, CLASSES = 6, 4
LOGITS = torch.randn(EXAMPLES, CLASSES, generator=torch.Generator().manual_seed(0))
LOSS = torch.tensor(1.5)


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        LOGITS.clone().requires_grad_(),
        LOGITS.numpy(),
        SimpleNamespace(logits=LOGITS),
        OrderedDict(loss=LOSS, logits=LOGITS),
        {"logits": LOGITS, "others": LOGITS},
        {"out": LOGITS, "loss": LOSS},
        (LOSS, LOGITS),
        (LOGITS,),
        [LOGITS, torch.zeros(EXAMPLES, 9)],
    ],
    ids=lambda output: type(output).__name__,
)
def test_logits_are_found_where_they_are_certain(output) -> None:
    found = logits_of(output, EXAMPLES, CLASSES)
    assert torch.equal(found, LOGITS)
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (LOSS, "step: a single number; pass the logits .* 6×4, not its loss"),
        (LOGITS[:, 0], "step: 6; pass the logits of the mini-batch, 6×4, not its loss"),
        (LOGITS[:3], r"step: 3×4; .* of one that was taken in parts, torch\.cat of all parts"),
        (LOGITS[:, :2], "step: 6×2; .* the model has 4 classes"),
        (LOGITS[None], "step: 1×6×4; pass"),
        (LOGITS.argmax(1), "step: 6; pass"),
        (LOGITS.long(), "step: torch.int64; pass the logits themselves"),
        ((LOGITS, LOGITS), "step: a tuple of 6×4, 6×4; pass the logits alone, 6×4"),
        ({"loss": LOSS}, "step: a dict of a number; pass the logits alone"),
        (SimpleNamespace(logits=None), "step: a SimpleNamespace; pass the logits, a tensor"),
        (1.5, "step: a float; pass the logits"),
        ("logits", "step: a str"),
        (LOGITS.tolist(), "step: a list of a list, a list, a list, a list …"),
        (np.array("x"), "step: a ndarray; pass"),
    ],
)
def test_anything_else_is_refused_in_words(output, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        logits_of(output, EXAMPLES, CLASSES)


def test_probabilities_are_no_logits_but_their_logarithms_are() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        with pytest.raises(ParameterError, match="every row sums to 1, as probabilities do"):
            refuse_probabilities(LOGITS.softmax(1).to(dtype))
    with pytest.raises(ParameterError, match="every row sums to 1"):
        refuse_probabilities(F.one_hot(LOGITS.argmax(1), CLASSES).float())
    for logits in (LOGITS, LOGITS.log_softmax(1), LOGITS.sigmoid(), torch.zeros(6, 4)):
        refuse_probabilities(logits)
    refuse_probabilities(torch.ones(6, 1))
    refuse_probabilities(LOGITS.softmax(1)[:2])  # too few to be sure
