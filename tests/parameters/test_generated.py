"""What is written from the declarations of parameters is current: `python -m tests.parameters`."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from crest.config import Parameters, parse
from crest.loop_support import option_types
from crest.methods import METHODS
from crest.parameters.section import keys_of, options_of
from crest.parameters.sections import TrainParameters
from tests.parameters import generated

ROOT = Path(__file__).parents[2]
SET_BY_REUSE = {"model", "snapshots"}


@pytest.mark.parametrize("path", [generated.PAGE, generated.PARAMS, generated.OPTIONS], ids=str)
def test_what_is_generated_is_current(path) -> None:
    assert path.read_text(encoding="utf-8") == generated.files()[path]


def test_every_key_has_a_description_of_one_line() -> None:
    for name, section in generated.sections().items():
        assert generated.about(section), name
        for key, field in keys_of(section).items():
            assert field.description, f"{name}.{key}"
            assert "\n" not in field.description


def keys(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Keys of values, those in groups with dots."""
    return [
        one
        for name, value in values.items()
        for one in (keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name])
    ]


def test_params_yaml_has_every_key_in_order_and_no_other() -> None:
    values = yaml.safe_load(generated.PARAMS.read_text(encoding="utf-8"))
    assert list(values) == list(Parameters.model_fields)
    assert keys(values) == [
        f"{name}.{key}"
        for name, section in generated.sections().items()
        for key in keys_of(section)
    ]


# What the shipped file sets otherwise than the declarations: the preset digits, and what it runs.
SET_APART = {"crest", "greedy", "prepare", "run", "train", "reuse"}


def test_methods_have_their_declared_values_in_params_yaml() -> None:
    values = yaml.safe_load(generated.PARAMS.read_text(encoding="utf-8"))
    parameters, defaults = parse(values, "params.yaml"), Parameters()
    different = {name for name in values if getattr(parameters, name) != getattr(defaults, name)}
    assert different <= SET_APART


def test_new_comments_leave_the_values() -> None:
    text = generated.PARAMS.read_text(encoding="utf-8")
    changed = text.replace("budget: 0.1 ", "budget: 0.3 ").replace(
        "# share of full", "# part of full"
    )
    again = generated.params_yaml(changed)
    assert again == text.replace("budget: 0.1 ", "budget: 0.3 ")


def test_the_types_of_options_are_those_of_the_declarations() -> None:
    for name, spec in METHODS.items():
        if name == "replay":
            continue
        declared = getattr(option_types, f"{name.title().replace('_', '')}Options").__annotations__
        assert list(declared) == list(options_of(spec.parameters)), name
        everything = option_types.Options.__annotations__
        assert declared.keys() <= everything.keys()
        assert everything[name] is getattr(option_types, f"{name.title().replace('_', '')}Options")


def test_the_page_has_a_row_for_every_key() -> None:
    page = generated.PAGE.read_text(encoding="utf-8")
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    total = sum(len(keys_of(section)) for section in generated.sections().values())
    assert len(rows) == total > 90


@pytest.mark.parametrize(
    ("section", "key", "expected"),
    [
        ("train", "budget", "number above 0 to 1"),
        ("train", "seed", "whole number from 0"),
        ("train", "device", "auto, cpu, cuda, cuda:N"),
        ("train", "clip_norm", "number above 0 or null"),
        ("train", "nesterov", "true, false"),
        ("crest", "subset_size", "a share below 1, or a count from 1"),
        ("crest", "selection", "ahead, on_demand"),
        ("prepare", "image_size", "whole number from 1 to 10000 or null"),
    ],
)
def test_ranges_in_words(section, key, expected) -> None:
    assert generated.range_of(keys_of(generated.sections()[section])[key]) == expected


def test_dvc_trains_other_models_again_by_every_key_of_train_but_those_that_it_sets() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    named = {key for key in stages["reuse"]["do"]["params"] if key.startswith("train.")}
    assert named == {f"train.{key}" for key in set(TrainParameters.model_fields) - SET_BY_REUSE}
