"""What gradient an example is expected to have, learned from what training sees.

When an example is trained on, its gradient's norm g = ‖p − y‖ is known for nothing. What was known
of it before is what can be known of a candidate: the norm h of its last visit, how long ago that
was, and perhaps what a proxy says of the very view. Least squares over recent visits, older ones
counting less, turn these into an expectation. Where they tell nothing it is the mean for all.
"""

from typing import Any

import torch
from torch import Tensor

RIDGE = 1e-3
DECAY = 0.995  # weight of what was learned before, a step


class Expectation:
    """Expects a number by d features: recursive least squares.

        A ← decay · A + FᵀF,  b ← decay · b + Fᵀg,  ĝ(f) = f · (A + ridge)⁻¹b

    Parameters
    ----------
    features
        d.
    """

    def __init__(self, features: int) -> None:
        self._squares = torch.zeros(features, features, dtype=torch.float64)
        self._products = torch.zeros(features, dtype=torch.float64)

    def learn(self, features: Tensor, values: Tensor) -> None:
        """Take note of a step's k examples; features float k×d, values float k."""
        if not len(values):
            return
        rows = features.double()
        self._squares = DECAY * self._squares + rows.T @ rows
        self._products = DECAY * self._products + rows.T @ values.double()

    def expect(self, features: Tensor) -> Tensor:
        """Return what is expected of k examples; features float k×d, result float32 k."""
        ridge = RIDGE * torch.eye(len(self._products), dtype=torch.float64)
        coefficients = torch.linalg.solve(self._squares + ridge, self._products)
        return (features.double() @ coefficients).float()

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return {"squares": self._squares.clone(), "products": self._products.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the sums."""
        self._squares = state["squares"].clone()
        self._products = state["products"].clone()


def features_of(last: Tensor, passes: Tensor, proxy: Tensor | None) -> Tensor:
    """Return what is known of k candidates, as columns; float32 k×7, with a proxy k×10.

    Parameters
    ----------
    last
        Gradient norms at the last visits, float32 k; NaN where there was none, and so in the row.
    passes
        Passes over the data since then, float32 k.
    proxy
        Gradient norms by a proxy, float32 k.
    """
    age, root = passes.log1p(), last.sqrt()
    columns = [torch.ones_like(last), last, last**2, root, age, age * last, age * root]
    if proxy is not None:
        columns += [proxy, proxy**2, proxy * last]
    return torch.stack(columns, 1)
