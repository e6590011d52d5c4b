"""What a method is declared by: its parameters, how it is built, and how long it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crest.parameters.section import Section

if TYPE_CHECKING:  # PyTorch takes seconds to import, and a declaration does without
    from crest.samplers.base import Context, Method


@dataclass(frozen=True)
class MethodSpec:
    """An entry of METHODS: how to build a method, and how long it trains.

    ``parameters``: its section of params.yaml, which is what its context holds.
    ``takes_all_steps``: all steps of full training, whatever the budget. ``schedule_of_full``: the
    learning rate of each step is that of full training, which the budget cuts off.
    ``scores_examples``: whether it scores examples through the model. ``outputs``: whether
    :meth:`~crest.samplers.base.Method.update` may need what the step knew.
    """

    build: Callable[[Context[Any]], Method]
    parameters: type[Section]
    takes_all_steps: bool = False
    schedule_of_full: bool = False
    scores_examples: bool = True
    outputs: bool = False
