"""CRAIG: medoids of the gradients, each weighted by the examples it stands for.

Mirzasoleiman, Bilmes and Leskovec, Coresets for Data-efficient Training of Machine Learning
Models, ICML 2020: facility location bounds the error of the weighted gradient of the coreset.
"""

from torch import Tensor

from crest.selection.facility_location import cluster_sizes, greedy, pairwise_distances


def craig(gradients: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Choose greedily by facility location (their algorithm 1).

    The distances take 4·r² bytes, and several times that while they are compared.

    Parameters
    ----------
    gradients
        float32, r×d.
    size
        At most r.

    Returns
    -------
    picks
        int64, ``size``, different rows in greedy order.
    weights
        float32, ``size``: how many rows are closest to each; they sum to r.
    """
    distances = pairwise_distances(gradients[None])
    picks = greedy(distances, size)
    return picks[0], cluster_sizes(distances, picks)[0].float()
