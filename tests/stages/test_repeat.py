"""repeat: a run with another seed is the run that train would make with it, and evaluated."""

import pytest

from crest import artifacts
from crest.errors import ParameterError
from crest.models.weights import digest, load_model
from stages import evaluate, repeat, train
from tests.conftest import copied
from tests.tiny import digits_parameters


def test_it_is_the_run_of_train_with_that_seed_and_its_evaluation(runs, tmp_path) -> None:
    paths = copied(runs, tmp_path)
    before = artifacts.read_json(paths.train("random") / "run.json")
    metrics = repeat.run(digits_parameters(), paths, "random", 1)
    assert artifacts.read_json(paths.train("random") / "run.json") == before
    folder = paths.repeat("random", 1)
    assert folder == paths.root / "artifacts" / "seeds" / "random" / "1"
    assert {"model.safetensors", "predictions.parquet", "manifest.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert artifacts.read_json(folder / "metrics.json") == metrics
    assert metrics["seed"] == 1

    with_seed = digits_parameters(train={"seed": 1})
    train.run(with_seed, paths, "random")
    found = evaluate.run(with_seed, paths, "random")
    assert (metrics["accuracy"], metrics["loss"]) == (found["accuracy"], found["loss"])
    models = [load_model(one / "model.safetensors")[0] for one in (folder, paths.train("random"))]
    assert digest(models[0]) == digest(models[1])


def test_the_seed_of_train_is_refused(runs) -> None:
    with pytest.raises(ParameterError, match=r"run\.seeds: 0 is train\.seed"):
        repeat.run(digits_parameters(), runs, "random", 0)
