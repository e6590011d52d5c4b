"""How many examples a share or a count of them is, held against the data."""

from typing import TYPE_CHECKING

from crest.errors import ParameterError

if TYPE_CHECKING:
    from crest.methods.crest import CrestParameters


def count_of(share_or_count: float | int, examples: int) -> int:
    """Return a share of the examples, or a count, as a count of at least 1."""
    if isinstance(share_or_count, float):
        return max(1, round(share_or_count * examples))
    return share_or_count


def fitting(key: str, share_or_count: float | int, examples: int, batch_size: int) -> int:
    """Return a share of the examples, or a count, as a count between a mini-batch and all of them.

    ``key`` names the parameter in the :class:`ParameterError` of one that is not.
    """
    size = count_of(share_or_count, examples)
    given = f"{key}: {share_or_count} is {size} of {examples} examples"
    if size < batch_size:
        raise ParameterError(f"{given}, less than train.batch_size ({batch_size}); make it larger")
    if size > examples:
        raise ParameterError(f"{given}; make it smaller")
    return size


def subset_size(parameters: "CrestParameters", examples: int, batch_size: int) -> int:
    """Return r in examples; it must hold a mini-batch and fit into the training set."""
    size = fitting("crest.subset_size", parameters.subset_size, examples, batch_size)
    if size < parameters.subset_coresets * batch_size:
        raise ParameterError(
            f"crest.subset_coresets: {parameters.subset_coresets} mini-batches of "
            f"{batch_size} examples, all different, do not fit into subsets of {size}; "
            "lower it or raise crest.subset_size"
        )
    return size
