"""Mini-batch coresets: exactly m, weights of mean 1, one for each subset."""

import torch

from crest.inference.evaluator import Evaluator
from crest.inference.forward import ForwardPass
from crest.models.head import last_layer
from crest.selection.choices import find_choice
from crest.selection.choosing import select_minibatch_coresets
from crest.selection.coresets import coreset_rows
from crest.selection.facility_location import cluster_sizes, greedy, pairwise_distances
from crest.selection.gradients import find_proxy
from tests.tiny import FLOAT32, convnet, image_split

SUBSETS = [torch.arange(start, start + 40) for start in (0, 50, 100)]


def select(**changes: object) -> list:
    arguments = {
        "evaluator": Evaluator(convnet(), image_split(), FLOAT32),
        "subsets": SUBSETS,
        "size": 8,
        "proxy": find_proxy("logits"),
        "choice": find_choice("facility_location"),
        "generator": torch.Generator(),
        "region": 7,
    }
    return select_minibatch_coresets(**{**arguments, **changes})


def test_each_coreset_lies_in_its_subset() -> None:
    for number, coreset in enumerate(select()):
        assert (coreset.region, coreset.number) == (7, number)
        assert set(coreset.indices.tolist()) <= set(SUBSETS[number].tolist())


def test_exactly_m_different_examples_with_mean_weight_one() -> None:
    for coreset in select():
        assert len(set(coreset.indices.tolist())) == 8
        torch.testing.assert_close(coreset.weights.mean(), torch.tensor(1.0))
        # Weights are whole cluster sizes times m/r.
        sizes = coreset.weights * 40 / 8
        torch.testing.assert_close(sizes, sizes.round())


def test_equals_selection_from_one_subset_alone(monkeypatch) -> None:
    model, split = convnet(), image_split()
    evaluator = Evaluator(model, split, FLOAT32)
    scored = evaluator.score(SUBSETS[1])
    distances = pairwise_distances(find_proxy("logits")(scored, last_layer(model))[None])
    picks = greedy(distances, 8)
    weights = cluster_sizes(distances, picks)[0] * 8 / 40
    monkeypatch.setattr("crest.selection.choosing.SUBSETS_AT_ONCE", 2)
    coreset = select(evaluator=evaluator)[1]
    assert coreset.indices.tolist() == SUBSETS[1][picks[0]].tolist()
    torch.testing.assert_close(coreset.weights, weights)
    torch.testing.assert_close(coreset.losses, scored.losses[picks[0]], rtol=1e-4, atol=1e-5)


def test_every_forward_pass_is_observed() -> None:
    passes: list[ForwardPass] = []
    select(observe=passes.append)
    seen = torch.cat([scored.indices for scored in passes])
    assert seen.tolist() == torch.cat(SUBSETS).tolist()


def test_rows_keep_greedy_order() -> None:
    coresets = select()
    rows = coreset_rows(coresets, image_split().labels)
    assert len(rows) == 24
    second = rows.filter(minibatch=1)
    assert second["position"].to_list() == list(range(8))
    assert second["index"].to_list() == coresets[1].indices.tolist()
    assert second["label"].to_list() == [index % 3 for index in second["index"]]
