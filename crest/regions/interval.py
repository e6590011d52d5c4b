"""How long to wait before a check, and how many coresets to select, from the fall of ‖H‖."""

import math

MOST = 2**31 - 1


def check_interval(factor: float, first_norm: float, norm: float, longest: int) -> int:
    """Steps between checks, T1 = h · ‖H_0‖ / ‖H_l‖, in whole steps from 1 to ``longest``.

    Without curvature (‖H_l‖ = 0) nothing bounds the region, and T1 is ``longest``.

    Parameters
    ----------
    factor
        h.
    first_norm, norm
        ‖H_0‖ and ‖H_l‖, norms of the smoothed Hessian diagonal.
    longest
        Steps that are left of training.
    """
    if norm == 0.0:
        return longest
    steps = factor * first_norm / norm
    if math.isnan(steps):  # both norms are too large for a number: nothing is known
        return 1
    return max(1, round(min(longest, steps)))


def whole_subsets(interval: int, each: int, longest: int) -> int:
    """T1 as a whole number of subsets, at least one, each of which serves ``each`` steps.

    Where mini-batch coresets are selected on demand, a region that ends in the middle of a
    subset would leave coresets unused.
    """
    return min(longest, each * max(1, round(interval / each)))


def minibatch_count(factor: float, interval: int) -> int:
    """Mini-batch coresets to select for a region, P = b · T1, from 1 to what tables hold."""
    return max(1, min(MOST, round(factor * interval)))
