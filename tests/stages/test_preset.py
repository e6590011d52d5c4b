"""preset: every ready-made set-up goes into params.yaml, whose comments stay."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from crest import presets as presets_module
from crest.config import load
from crest.errors import ArtifactError, ParameterError
from crest.presets import SET, merged, presets
from stages import preset

REPOSITORY = Path(__file__).parents[2]
NAMES = [
    "cifar10-resnet20",
    "cifar10-resnet20-cheap",
    "cifar10-resnet20-economical",
    "cifar100-resnet18",
    "digits",
    "digits-as-published",
    "imagenet-resnet50",
    "photos",
    "snli-minilm",
    "snli-roberta",
    "tinyimagenet-resnet50",
]

# Of the sections that each preset had when its file held every value, by the names of now.
WHOLE = {
    "cifar10-resnet20": "dc1bcbc9189205d9",
    "cifar10-resnet20-cheap": "e5be0516fd470d4a",
    "cifar10-resnet20-economical": "45e36083eb78e196",
    "cifar100-resnet18": "03d1f0ce699409e0",
    "digits": "8eec71667e20ad85",
    "digits-as-published": "a4b4bc7ef27bf6e3",
    "snli-minilm": "134e49b596932748",
    "snli-roberta": "f51e8a8d773ad16e",
    "tinyimagenet-resnet50": "84fd045a1678d717",
}
FOLDER = REPOSITORY / "crest" / "presets"
FILES = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yaml")}


def comments(text):
    """Every comment of a file with the key before it."""
    lines = [line.partition("#") for line in text.splitlines()]
    return [(before.partition(":")[0].strip(), comment) for before, mark, comment in lines if mark]


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes((REPOSITORY / "params.yaml").read_bytes())
    return path


def test_the_presets_are_those_of_the_contract_and_say_what_they_are():
    assert list(presets()) == NAMES
    assert all(len(values["description"]) > 20 for values in presets().values())


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_sets_its_values_and_nothing_else(params, name):
    before = load(params).model_dump(mode="json")
    preset.run(name, params)
    after = load(params).model_dump(mode="json")
    sections = {key: value for key, value in presets()[name].items() if key != "description"}
    assert after == merged(before, sections)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_sets_the_same_keys_as_every_other(name):
    values = {section: presets()[name][section] for section in SET}
    assert {section: sorted(keys(own)) for section, own in values.items()} == {
        section: sorted(own) for section, own in SET.items()
    }


def keys(values, prefix=""):
    for name, value in values.items():
        yield from keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]


def test_a_preset_says_only_what_differs_from_what_it_builds_on():
    for name, text in FILES.items():
        own = yaml.safe_load(text)
        base = presets()[own["builds_on"]] if "builds_on" in own else presets_module._defaults()
        for section in own.keys() - {"description", "builds_on"}:
            for key in keys(own[section]):
                assert value_at(own[section], key) != value_at(base[section], key), (name, key)


def value_at(values, key):
    for name in key.split("."):
        values = values[name]
    return values


def test_the_presets_are_what_they_were_when_each_had_all_of_its_values():
    assert {name: digest(presets()[name]) for name in WHOLE} == WHOLE


# Keys of train that came later; where they are off, a preset is what it was.
PICTURES = ("augment_", "randaugment_", "mixup", "cutmix", "label_sm", "ema_")
NETWORKS = ("weights", "input_size", "freeze", "head_lr", "layer_decay", "decayed")
LATER = {
    name: value
    for name, value in presets_module._defaults()["train"].items()
    if name.startswith(PICTURES + NETWORKS) and name not in ("augment_crop", "augment_flip")
}


def is_of_old(key, value):
    return key not in LATER or value != LATER[key]


def digest(values):
    sections = {name: own for name, own in values.items() if name != "description"}
    train = {key: value for key, value in sections["train"].items() if is_of_old(key, value)}
    sections["train"] = train
    plain = json.loads(json.dumps(sections), parse_int=float)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", NAMES)
def test_the_comments_and_the_order_of_the_keys_stay(params, name):
    before = params.read_text()
    preset.run(name, params)
    after = params.read_text()
    assert comments(after) == comments(before)
    assert [list(section) for section in yaml.safe_load(after).values()] == [
        list(section) for section in yaml.safe_load(before).values()
    ]
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_every_preset_can_be_undone_by_digits(params):
    before = params.read_text()
    preset.run("digits", params)
    fresh = params.read_text()
    assert yaml.safe_load(fresh) == yaml.safe_load(before)
    for name in NAMES:
        preset.run(name, params)
    preset.run("digits", params)
    assert yaml.safe_load(params.read_text()) == yaml.safe_load(fresh)


@pytest.mark.parametrize("text", ["", "# nothing\n", "train:\ncrest: null\n", "crest: {}\n"])
def test_a_preset_fills_in_sections_that_are_absent(params, text):
    params.write_text(text)
    preset.run("cifar10-resnet20", params)
    assert load(params).train.model == "resnet20"
    assert load(params).crest.subset_size == 0.01


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "cifar",
            "preset: 'cifar' is not one of cifar10-resnet20, cifar10-resnet20-cheap, "
            "cifar10-resnet20-economical, cifar100-resnet18, digits, ",
        ),
        ("../digits", "preset: '../digits' is not one of "),
        (
            "cifar10-resnet20-focused",
            "preset: 'cifar10-resnet20-focused' is called 'cifar10-resnet20-economical' now",
        ),
    ],
)
def test_a_preset_that_is_not_there_leaves_the_file(params, name, expected):
    before = params.read_bytes()
    with pytest.raises(ParameterError) as caught:
        preset.run(name, params)
    assert str(caught.value).startswith(expected)
    assert params.read_bytes() == before


@pytest.mark.parametrize("text", ["train: {lr: fast}\n", "train: [\n", "- train\n"])
def test_a_file_with_faults_is_refused_and_left(params, text):
    params.write_text(text)
    with pytest.raises(ParameterError):
        preset.run("digits", params)
    assert params.read_text() == text


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(ParameterError, match="no such parameter file"):
        preset.run("digits", tmp_path / "params.yaml")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_file(params, monkeypatch):
    before = params.read_bytes()

    def full(self, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ruamel.yaml.YAML.dump", full)
    with pytest.raises(ArtifactError, match=r"params\.yaml: cannot be written: .*No space left"):
        preset.run("digits", params)
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_the_ends_of_the_lines_stay_as_windows_has_them(params):
    params.write_bytes(b"\xef\xbb\xbf" + params.read_bytes().replace(b"\n", b"\r\n"))
    preset.run("digits-as-published", params)
    content = params.read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") > 100
    assert b"\r\r" not in content


@pytest.mark.parametrize("text", ["# mine\n", "# mine\n\n# of two lines\n---\n", "# mine\nnull\n"])
def test_comments_of_a_file_without_a_section_stay(params, text):
    params.write_text(text)
    preset.run("digits", params)
    assert comments(params.read_text())[0] == ("", " mine")
    assert load(params).prepare.dataset == "digits"
