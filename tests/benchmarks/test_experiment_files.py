"""What experiment files say, and the variations of the data that they ask for."""

import math

import pytest
import torch

from benchmarks.experiments import (
    commands,
    experiment,
    variations,
)
from crest.data.prepared import Prepared
from crest.errors import ParameterError
from tests.benchmarks.short_experiments import (
    CREST,
    RANDOM,
    SHORT,
)
from tests.tiny import image_meta, image_split

# Data variations


def varied(**variation):
    split = image_split(240)
    data = Prepared(image_meta(), split, None, split)
    return data, variations.varied(data, experiment.Variation(**variation))


def test_no_variation_changes_nothing():
    data, same = varied(seed=3)
    assert same is data


def test_a_share_of_the_labels_is_shuffled():
    data, changed = varied(shuffled_labels=0.5)
    before, after = data.train.labels, changed.train.labels
    assert torch.equal(before.bincount(), after.bincount())
    # Of 120 permuted among 3 classes about two thirds get another label.
    assert 60 <= int((before != after).sum()) <= 100
    indices = torch.tensor([5, 17])
    assert torch.equal(changed.train.inputs(indices), data.train.inputs(indices))
    assert torch.equal(varied(shuffled_labels=0.5)[1].train.labels, after)
    assert not torch.equal(varied(shuffled_labels=0.5, seed=1)[1].train.labels, after)
    assert torch.equal(data.test.labels, changed.test.labels)


def test_every_example_is_there_so_many_times():
    data, changed = varied(repeated=5)
    assert len(changed.train) == changed.meta.sizes["train"] == 1200
    assert torch.equal(changed.train.rows.bincount(), torch.full((240,), 5))
    indices = torch.tensor([0, 240, 1199])
    rows = torch.tensor([0, 0, 239])
    assert torch.equal(changed.train.inputs(indices), data.train.inputs(rows))
    assert torch.equal(changed.train.labels[indices], data.train.labels[rows])
    assert changed.meta.content_hash != data.meta.content_hash


def test_a_random_share_of_the_examples_is_kept_and_then_changed():
    data, changed = varied(share=0.25, repeated=2)
    once = changed.train.rows[:60]
    assert len(once.unique()) == 60
    assert torch.equal(changed.train.rows, once.repeat(2))
    assert torch.equal(changed.train.labels, data.train.labels[changed.train.rows])
    assert torch.equal(varied(share=0.25)[1].train.rows, once)
    assert not torch.equal(varied(share=0.25, seed=1)[1].train.rows, once)
    thin = varied(share=0.25, imbalance=4)[1].train
    before = data.train.labels[once].bincount()
    factors = torch.tensor([1.0, 0.5, 0.25])
    assert thin.labels.bincount().tolist() == (before * factors).round().int().tolist()
    assert torch.isin(thin.rows, once).all()


def test_classes_are_thinned_exponentially():
    data, changed = varied(imbalance=10)
    assert changed.train.labels.bincount().tolist() == [80, round(80 / math.sqrt(10)), 8]
    assert torch.equal(changed.train.labels, data.train.labels[changed.train.rows])
    assert torch.equal(varied(imbalance=10)[1].train.rows, changed.train.rows)


def test_a_run_on_varied_data(bench):
    text = "  - {name: five, method: random, data: {repeated: 5}}\n"
    rows = bench(RANDOM + text, "--seeds", "0")
    assert [row["full_steps"] for row in rows] == [41, 203]
    assert rows[1]["data"]["varied"] == {"repeated": 5}


# Experiment files


@pytest.mark.parametrize("path", sorted(commands.EXPERIMENTS.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_experiments_can_be_read(path):
    read = experiment.read(path)
    assert len(read.plans) > 4
    assert len({plan.hash for plan in read.plans}) == len(read.plans)


def plans(tmp_path, text, seeds=None):
    path = tmp_path / "some.yaml"
    path.write_text(SHORT + text)
    return experiment.read(path, seeds).plans


def test_a_runs_own_seeds_and_parameters(tmp_path):
    text = CREST + "  - {name: b, method: crest, seeds: [0], set: {crest.threshold: 1e-2}}\n"
    first, second = plans(tmp_path, text)
    assert (first.seeds, second.seeds) == ((0, 1), (0,))
    assert (first.parameters.crest.threshold, second.parameters.crest.threshold) == (0.2, 0.01)
    first, second = plans(tmp_path, text, [1, 2])
    assert (first.seeds, second.seeds) == ((1, 2), ())
    assert first.seeded(2).train.seed == 2


def test_a_preset_is_what_a_run_starts_from(tmp_path):
    plan = plans(tmp_path, "  - {name: a, method: crest, preset: cifar10-resnet20-cheap}\n")[0]
    assert plan.parameters.train.model == "resnet20"
    assert plan.parameters.crest.choice == "spatially_stratified"
    assert plan.parameters.crest.subset_size == 64


def test_the_hash_is_of_what_the_result_depends_on(tmp_path):
    def hashes(crest="", others=""):
        text = CREST.replace("}", f", set: {{{crest}}}}}")
        text += (
            "  - {name: again, coresets_of: crest}\n" + f"  - {{name: r, method: random{others}}}\n"
        )
        return [plan.hash for plan in plans(tmp_path, text)]

    before = hashes()
    assert hashes("crest.threshold: 0.2, run.save_interval: 5.0") != hashes("crest.threshold: 0.1")
    after = hashes("crest.threshold: 0.1")
    assert after[0] != before[0]
    assert after[1] != before[1]  # it trains on what the other chose
    assert after[2] == before[2]
    assert hashes(others=", data: {repeated: 2}")[2] != before[2]
    assert hashes(others=", set: {run.save_interval: 5.0}")[2] == before[2]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("  - {name: a, methods: crest}\n", "runs.0.methods: Extra inputs"),
        ("  - {name: a, method: crest, preset: none}\n", "preset: 'none' is not one of"),
        ("  - {name: a, method: crest, set: {budget: 1}}\n", "'budget' is not section.key"),
        ("  - {name: a, method: crest, set: {train.bugdet: 1}}\n", "train.bugdet: unknown key"),
        ("  - {name: a, coresets_of: crest}\n" + CREST, "no run before it is called 'crest'"),
        (CREST + "  - {name: a, method: crest, coresets_of: crest}\n", "such a run is replay"),
        ("  - {name: a}\n", "replay needs coresets_of"),
        (CREST + CREST, "two runs would share the folder 'crest'"),
        ("  - {name: a\n", "not valid YAML"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path, text, printed):
    with pytest.raises(ParameterError, match=r"some\.yaml") as refused:
        plans(tmp_path, text)
    assert printed in str(refused.value)
