"""Label noise: how many labels are wrong, and which of them.

Every example is classified by all others, in closed form: a ridge regression of simple features,
each example left out in its turn (:mod:`.leave_one_out`). How often and how surely these
predictions contradict the labels gives the share of noise, by maximum likelihood, and each label's
chance to be right (:mod:`.mixture`).
"""

from crest.label_noise.estimate import (
    KEPT_EXAMPLES,
    estimate_label_noise,
    noise_of,
    quality_of,
)
from crest.label_noise.mixture import LabelNoise

__all__ = ["KEPT_EXAMPLES", "LabelNoise", "estimate_label_noise", "noise_of", "quality_of"]
