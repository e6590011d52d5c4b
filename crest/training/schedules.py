"""Learning-rate schedules and step counts, as pure functions of the optimiser step."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from crest.errors import ParameterError, not_one_of
from crest.parameters.sections import TrainParameters

# What tables hold in 32 bits.
MOST_STEPS = 2**31 - 1

Schedule = Callable[[int, int, int], float]
"""The share of the peak rate at ``step`` (>= ``warmup``) of ``steps`` after ``warmup`` steps."""


def _steps(step: int, steps: int, warmup: int) -> float:
    """Return 1, then 0.1 from 60% and 0.01 from 85% of all steps on, as in the paper."""
    # In whole numbers: 0.6 * steps in floating point may miss the boundary by one step.
    drops = (100 * step >= 60 * steps) + (100 * step >= 85 * steps)
    return (1.0, 0.1, 0.01)[drops]


def _cosine(step: int, steps: int, warmup: int) -> float:
    """Return (1 + cos(πt))/2 with t from 0 after the warm-up to 1 just past the last step."""
    # Equal to the cosine, but it keeps its precision, and so stays above 0, for t near 1.
    return math.sin(0.5 * math.pi * (steps - step) / (steps - warmup)) ** 2


def _linear(step: int, steps: int, warmup: int) -> float:
    """Return 1 after the warm-up, falling evenly to 0 just past the last step."""
    return (steps - step) / (steps - warmup)


SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {"steps": _steps, "cosine": _cosine, "linear": _linear}
)


def learning_rate(step: int, steps: int, parameters: TrainParameters) -> float:
    """Return the learning rate of one optimiser step.

    With W = round(warmup · steps), the first W steps climb linearly from lr/W to lr; the schedule
    follows. No step has a rate of 0 or above lr.

    Parameters
    ----------
    step
        The step to take, from 0 to ``steps`` - 1.
    steps
        Length of the schedule: the steps of the budget, so that a short run sees all of it.
    parameters
        ``lr``, ``warmup`` (a share of the steps) and ``schedule`` are read.

    Raises
    ------
    ParameterError
        If train.schedule is unknown.
    ValueError
        If ``step`` is not one of the run's steps.

    References
    ----------
    Yang, Kang and Mirzasoleiman, Towards Sustainable Learning: Coresets for Data-efficient Deep
    Learning, ICML 2023, section 5: warm-up over the first 10% of the steps, decays by ten at 60%
    and 85%.
    """
    if not 0 <= step < steps:
        raise ValueError(f"step {step} is not one of {steps} steps")
    schedule = _schedule(parameters.schedule)
    warmup = round(parameters.warmup * steps)
    if step < warmup:
        return parameters.lr * ((step + 1) / warmup)
    return parameters.lr * schedule(step, steps, warmup)


def total_steps(epochs: float, examples: int, batch_size: int) -> int:
    """Return how many mini-batches of ``batch_size`` make up ``epochs`` passes over the data.

    The nearest whole number to epochs · examples / batch_size: examples are counted through, so
    the part of an epoch that fills no mini-batch belongs to the next one.

    Raises
    ------
    ParameterError
        If one mini-batch is larger than the data, the epochs are shorter than half a step or
        longer than tables hold.
    """
    if batch_size > examples:
        raise ParameterError(
            f"train.batch_size: a mini-batch of {batch_size} is larger than the training set "
            f"of {examples} examples; use at most {examples}"
        )
    steps = round(epochs * examples / batch_size)
    if steps < 1:
        raise ParameterError(
            f"train.epochs: {epochs:g} epochs of {examples} examples make no mini-batch of "
            f"{batch_size}; raise train.epochs or lower train.batch_size"
        )
    if steps > MOST_STEPS:
        raise ParameterError(
            f"train.epochs: {epochs:g} epochs of {examples} examples are {steps} mini-batches of "
            f"{batch_size}; a run has at most {MOST_STEPS}: lower train.epochs"
        )
    return steps


def budget_steps(budget: float, full_steps: int) -> int:
    """Return the steps that a share ``budget`` of full training pays for, at least one."""
    return max(1, round(budget * full_steps))


def _schedule(name: str) -> Schedule:
    """Return the schedule of that name."""
    if name not in SCHEDULES:
        raise ParameterError(f"train.schedule: {not_one_of(name, SCHEDULES)}")
    return SCHEDULES[name]
