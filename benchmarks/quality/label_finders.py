"""Ways of finding wrong labels in what trainings showed: scores, and sets that each decides on.

A score is high where a label is likely wrong. A set is a way's own decision of who is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.quality.label_runs import FOLDS, LEFT_OUT, THRESHOLD_SAMPLES, Visits
from crest.analysis.difficulty import difficulty_table
from crest.label_noise import LabelNoise

THRESHOLD_PERCENTILE = 0.99  # of the threshold samples' margins (Pleiss et al. 2020)
SCORES = ("self_confidence", "normalized_margin")
FILTERS = ("prune_by_noise_rate", "confident_learning")
FOLDED = ("folds, equal seconds", f"folds, {FOLDS} runs")


@dataclass(frozen=True)
class Found:
    """What a way says: scores of n examples, a set as bool n, and the share that it estimates.

    ``chances`` are how likely each label is wrong. ``judged`` are the examples that it says
    anything of. None: all; a way without scores, sets or estimates has None for them.
    """

    scores: Tensor | None = None
    chosen: Tensor | None = None
    share: float | None = None
    judged: Tensor | None = None
    chances: Tensor | None = None


def of_run(visits: Visits, labels: Tensor) -> dict[str, Found]:
    """Ours and others that need nothing but one ordinary run."""
    table = difficulty_table(visits.examples)
    losses, chances = (
        torch.tensor(table[name].fill_null(0.0).to_list(), dtype=torch.float64)
        for name in ("mean_loss", "wrong_label")
    )
    own = labels[:, None]
    margins = mean_margins(visits, labels)
    seen = torch.bincount(visits.indices, minlength=len(labels)).clamp(min=1)
    probabilities = torch.zeros(len(labels), visits.logits.shape[1]).index_add_(
        0, visits.indices, visits.logits.softmax(1)
    )
    confidence = probabilities.gather(1, own).squeeze(1) / seen
    last = visits.final.log_softmax(1).gather(1, own).squeeze(1)
    by_class = torch.stack(
        [losses[labels == label].median() for label in range(visits.logits.shape[1])]
    )
    return {
        "ours": Found(losses, chances > 0.5, float(chances.mean()), chances=chances),
        "mean probability": Found(-confidence),
        "mean margin": Found(-margins),
        "mean loss / class median": Found(losses / by_class[labels].clamp(min=1e-6)),
        "loss of the trained model": Found(-last),
    }


def of_left_out(noise: LabelNoise, run: Found | None) -> dict[str, Found]:
    """What :mod:`crest.label_noise` says before training, and together with what a run says.

    Together: the odds of both multiply, but for the share, which both have used.
    """
    chances = 1.0 - noise.quality.double()
    found = {"ours, left out": Found(chances, chances > 0.5, noise.wrong, chances=chances)}
    if run is not None and run.chances is not None and run.share:
        odds = chances.clamp(1e-6, 1 - 1e-6).logit() + run.chances.clamp(1e-6, 1 - 1e-6).logit()
        prior = torch.tensor(min(max(noise.wrong, 1e-6), 0.99)).double().logit()
        both = (odds - prior).sigmoid()
        found["ours, both"] = Found(both, both > 0.5, float(both.mean()), chances=both)
    return found


def mean_margins(visits: Visits, labels: Tensor) -> Tensor:
    """Area under the margin: the label's logit less the highest other, a mean over the visits."""
    own = labels[visits.indices, None]
    others = visits.logits.scatter(1, own, -torch.inf).max(1).values
    margins = visits.logits.gather(1, own).squeeze(1) - others
    zeros = torch.zeros(len(labels))
    seen = zeros.index_add(0, visits.indices, torch.ones(len(margins)))
    return zeros.index_add(0, visits.indices, margins) / seen.clamp(min=1)


def by_threshold_samples(
    visits: Visits, chosen: Tensor, labels: Tensor, classes: int
) -> dict[str, Found]:
    """AUM, which calls wrong what has a lower margin than nearly all threshold samples have.

    The threshold samples themselves are not judged; their turn would take a second training.
    """
    given = labels.clone()
    given[chosen] = classes
    margins = mean_margins(visits, given)
    judged = torch.ones(len(labels), dtype=torch.bool)
    judged[chosen] = False
    limit = margins[chosen].quantile(THRESHOLD_PERCENTILE)
    below = (margins <= limit) & judged
    share = float(below.sum() / judged.sum())
    return {"AUM, threshold samples": Found(-margins, below, share, judged)}


def by_cleanlab(name: str, probabilities: Tensor, labels: Tensor) -> dict[str, Found]:
    """cleanlab's rankings and sets; none where it is not installed."""
    try:
        from cleanlab.count import estimate_joint
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return {}
    given = labels.numpy()
    shares = probabilities.double()
    held_out = (shares / shares.sum(1, keepdim=True)).numpy()
    joint = torch.tensor(estimate_joint(given, held_out))
    found = {
        f"cleanlab, {score}, {name}": Found(
            scores=torch.tensor(-get_label_quality_scores(given, held_out, method=score))
        )
        for score in SCORES
    }
    for way in FILTERS:
        chosen = torch.tensor(find_label_issues(given, held_out, filter_by=way, n_jobs=1))
        share = float(1 - joint.diagonal().sum())
        found[f"cleanlab, {way}, {name}"] = Found(chosen=chosen, share=share)
    return found


def all_ways(kept: Mapping[str, Any]) -> dict[str, Found]:
    """Return what every way says of what :func:`label_runs.collect` returned."""
    labels = kept["labels"]
    found: dict[str, Found] = {}
    if "run" in kept:
        found |= of_run(kept["run"], labels)
    if LEFT_OUT in kept:
        found |= of_left_out(kept[LEFT_OUT][0], found.get("ours"))
    for name in FOLDED:
        if name in kept:
            found |= by_cleanlab(name, kept[name][0], labels)
    if THRESHOLD_SAMPLES in kept:
        visits, chosen = kept[THRESHOLD_SAMPLES]
        found |= by_threshold_samples(visits, chosen, labels, kept["classes"])
    return found


def measures(found: Found, wrong: Tensor) -> dict[str, float]:
    """Return what a way achieves: average precision, and precision, recall, F1 of its set."""
    from sklearn.metrics import average_precision_score

    judged = torch.ones_like(wrong) if found.judged is None else found.judged
    result: dict[str, float] = {}
    if found.share is not None:
        result["share"] = found.share
    true = wrong[judged]
    if found.chances is not None:
        result["calibration error"] = _calibration_error(found.chances, wrong)
    if found.scores is not None and true.any():
        result["average precision"] = float(
            average_precision_score(true.numpy(), found.scores[judged].numpy())
        )
    if found.chosen is not None:
        chosen = found.chosen[judged]
        hits = float((chosen & true).sum())
        result |= {"chosen": float(chosen.sum()), "precision": hits / max(1, int(chosen.sum()))}
        result["recall"] = hits / max(1, int(true.sum()))
        result["F1"] = 2 * hits / max(1, int(chosen.sum()) + int(true.sum()))
    return result


def _calibration_error(chances: Tensor, wrong: Tensor, bins: int = 10) -> float:
    """Return how far chances are off the shares that are wrong, a mean over equal bins."""
    places = (chances * bins).long().clamp(max=bins - 1)
    zeros = torch.zeros(bins, dtype=torch.float64)
    excess = zeros.index_add(0, places, chances.double() - wrong.double())
    return float(excess.abs().sum() / len(wrong))
