"""evaluate: what it says is what counting its predictions says."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from crest import artifacts
from crest.data.prepared import load
from crest.errors import ArtifactError, ParameterError, TrainingError
from crest.inference import evaluation
from crest.models import ModelSpec, build, weights
from crest.pipeline import manifest
from stages import evaluate
from tests.tiny import CPU, digits_parameters


def evaluated(paths, method="random", **sections):
    metrics = evaluate.run(digits_parameters(**sections), paths, method)
    folder = paths.evaluate(method)
    assert {path.name for path in folder.iterdir()} == {
        "metrics.json", "predictions.parquet", "manifest.json"
    }  # fmt: skip
    assert artifacts.read_json(folder / "metrics.json") == metrics
    return metrics, artifacts.read_table(folder / "predictions.parquet")


def rewrite_metrics(path, **changes):
    values = artifacts.read_json(path) | changes
    artifacts.write_json(path, {key: value for key, value in values.items() if value is not None})


@pytest.mark.parametrize("method", ["crest", "random", "full"])
def test_accuracy_and_loss_are_those_of_the_predictions(project, method):
    metrics, predicted = evaluated(project, method)
    assert metrics["accuracy"] == (predicted["label"] == predicted["prediction"]).mean()
    assert metrics["loss"] == pytest.approx(predicted["loss"].cast(float).mean(), rel=1e-12)


def test_the_predictions_are_the_models_on_every_test_example(project):
    _, predicted = evaluated(project)
    test = load(project.prepared, CPU).test
    model, _ = weights.load_model(project.train("random") / "model.safetensors")
    with torch.no_grad():
        logits = model.eval()(test.inputs(torch.arange(len(test))))
    confidences, predictions = logits.softmax(1).max(1)
    assert predicted["index"].to_list() == list(range(355))
    assert predicted["label"].to_list() == test.labels.tolist()
    assert predicted["prediction"].to_list() == predictions.tolist()
    losses = F.cross_entropy(logits, test.labels, reduction="none")
    np.testing.assert_allclose(predicted["confidence"], confidences.numpy(), rtol=1e-4)
    np.testing.assert_allclose(predicted["loss"], losses.numpy(), rtol=1e-4, atol=1e-6)


def test_what_training_cost_is_carried_over(project):
    metrics, _ = evaluated(project)
    trained = artifacts.read_json(project.train("random") / "metrics.json")
    assert metrics.keys() == {"accuracy", "loss", *evaluate.KEPT}
    assert {key: metrics[key] for key in evaluate.KEPT} == {
        key: trained[key] for key in evaluate.KEPT
    }


def test_the_batch_size_is_followed_and_changes_nothing(project, monkeypatch):
    sizes = []

    def watched(evaluator, batch_size):
        sizes.append(batch_size)
        return evaluation.evaluate(evaluator, batch_size)

    monkeypatch.setattr(evaluate, "evaluate", watched)
    first, predicted = evaluated(project)
    second, same = evaluated(project, evaluate={"batch_size": 7})
    assert sizes == [None, 7]
    assert second["accuracy"] == first["accuracy"]
    np.testing.assert_allclose(same["loss"], predicted["loss"], rtol=1e-4, atol=1e-6)


def test_a_model_of_other_classes_is_refused_and_the_earlier_result_stays(project):
    earlier, _ = evaluated(project)
    model = build("convnet", classes=3, image_shape=(8, 8, 1), stem="cifar", seed=0)
    spec = ModelSpec("convnet", 3, (8, 8, 1))
    weights.save(model, spec, project.train("random") / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"a model of 3 classes .* prepared data have 10"):
        evaluate.run(digits_parameters(), project, "random")
    assert artifacts.read_json(project.evaluate("random") / "metrics.json") == earlier


def test_a_method_that_was_not_trained_is_said_so(digits):
    with pytest.raises(
        ArtifactError, match=r"train/full: no such run.*cli\.py train --method full"
    ):
        evaluate.run(digits_parameters(), digits, "full")
    assert not digits.evaluate("full").exists()


def test_an_unknown_method_is_a_bad_parameter(digits):
    with pytest.raises(ParameterError, match=r"'fll' is not one of full"):
        evaluate.run(digits_parameters(), digits, "fll")


def test_metrics_that_lack_a_number_are_refused(project):
    path = project.train("random") / "metrics.json"
    rewrite_metrics(path, seconds_train=None)
    with pytest.raises(ArtifactError, match=r"metrics\.json: lacks 'seconds_train'; train again"):
        evaluate.run(digits_parameters(), project, "random")


def test_a_model_that_diverged_in_its_last_step_has_no_accuracy(project):
    path = project.train("random") / "model.safetensors"
    model, spec = weights.load_model(path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3e38)
    weights.save(model, spec, path)
    found = manifest.read(path.parent, "again")
    manifest.seal(path.parent, found.runs, found.data)
    with pytest.raises(TrainingError, match=r"no finite numbers for 355 of 355 .*train\.lr"):
        evaluate.run(digits_parameters(), project, "random")
