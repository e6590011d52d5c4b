"""Any rule until the examples are learned, and plain random rounds of all of them from then on."""

from dataclasses import replace

import torch

from crest.samplers.rules.focused import FIRST, sum_of_known
from crest.samplers.rules.rule import Observed, Round, Rule, require


def until_learned(rule: Rule, share: float) -> Rule:
    """Return a rule that ends where the mean loss has fallen below a share of the first losses.

    Little is left to learn there: which of the small losses is larger is chance, and what noise the
    draws take out of the gradients no longer helps. From then on all examples take part, without
    regard to their groups; where losses rise again, so does the rule.

    Parameters
    ----------
    rule
        One that remembers first losses, as a focus with an onset does.
    share
        Of the mean of the first losses.

    Raises
    ------
    ParameterError
        If the share is out of range.
    """
    require("until_learned", "share", share, 0.0, 1.0)

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        if sum_of_known(observed.losses) < share * sum_of_known(observed.columns[FIRST]):
            everyone = torch.arange(len(observed.losses), dtype=torch.int32)
            return Round(everyone, stratified=False)
        return rule.draw(observed, generator)

    return replace(rule, draw=draw)
