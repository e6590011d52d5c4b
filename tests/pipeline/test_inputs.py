"""What runs begin with, by the weights that they start from."""

import json
import logging

import pytest

from crest.data.preprocessing import Preprocessing
from crest.errors import ArtifactError
from crest.models import ModelSpec, weights
from crest.pipeline.inputs import load_trained, prepared_data, say_of_size
from tests.tiny import CPU, digits_parameters

MEANS = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def saved(folder, source="somebody's weights"):
    """A model of digits whose file says how it wants images."""
    wanted = Preprocessing(*MEANS, 224, None, source)
    spec = ModelSpec("convnet", 10, (8, 8, 3), preprocessing=wanted)
    path = folder / "model.safetensors"
    weights.save(spec.fresh(0), spec, path)
    return path


def test_the_data_are_opened_as_a_trained_models_file_says(digits, tmp_path, caplog):
    path = saved(tmp_path)
    data = prepared_data(digits_parameters(), digits, CPU, path)
    assert (data.preprocessing.mean, data.preprocessing.std) == MEANS
    load_trained(path, data, CPU)
    with caplog.at_level(logging.WARNING):
        say_of_size(data)
    assert caplog.messages == [
        "the images are of 8 x 8 pixels, and somebody's weights was trained on 224 x 224; "
        "prepare.image_size or train.input_size: 224 is what it knows"
    ]


def test_a_model_of_other_normalisation_is_refused(digits, tmp_path, tmp_path_factory):
    path = saved(tmp_path)
    data = prepared_data(digits_parameters(), digits, CPU, path)
    other = saved(tmp_path_factory.mktemp("other"), "others' weights")
    with pytest.raises(ArtifactError, match=r"otherwise \(others' .*\) than these are \(somebody"):
        load_trained(other, data, CPU)


def test_runs_of_random_weights_say_nothing_of_weights(runs):
    """So that what is there already stays as it is."""
    for name in ("metrics.json", "run.json"):
        values = json.loads((runs.train("random") / name).read_text())
        assert not {"weights", "preprocessing", "seconds_embedding"} & values.keys()
