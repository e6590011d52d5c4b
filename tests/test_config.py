"""Parameters: what is accepted, and how every fault is named."""

import contextlib
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crest.config import Parameters, load, parse
from crest.data.augment import Augmentation
from crest.errors import ParameterError
from crest.methods import METHODS
from crest.methods.crest import CrestParameters
from crest.parameters.renamed import KEYS, VALUES
from crest.parameters.section import Section, group_of, keys_of, put, value_of
from crest.parameters.sections import TrainParameters
from crest.pipeline.inputs import augmentation_of

REPOSITORY = Path(__file__).parents[1]
SECTIONS_OF = {name: group_of(field) for name, field in Parameters.model_fields.items()}
FIELDS = {name: tuple(keys_of(section)) for name, section in SECTIONS_OF.items()}
# Words of pydantic's that say nothing to a person who edits a YAML file.
INTERNALS = ("Input", "function-", "pydantic", "Value error", "TrainParameters", "tuple", "dict")


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def message(values: dict[Any, Any]) -> str:
    with pytest.raises(ParameterError) as caught:
        parse(values, "params.yaml")
    assert caught.value.exit_code == 2
    return str(caught.value)


def load_message(path: Path, *overrides: str) -> str:
    with pytest.raises(ParameterError) as caught:
        load(path, overrides)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("train", "lr", "0.1", "must be a number, got '0.1'"),
        ("train", "lr", [0.1], "must be a number, got [0.1]"),
        ("train", "lr", None, "must be a number, got None"),
        ("train", "lr", -0.1, "must be greater than 0, got -0.1"),
        ("train", "lr", float("nan"), "must be a finite number, got nan"),
        ("train", "lr", float("inf"), "must be a finite number, got inf"),
        ("train", "weight_decay", -1.0, "must be greater than or equal to 0, got -1.0"),
        ("train", "weight_decay", float("inf"), "must be a finite number, got inf"),
        ("train", "budget", 0, "must be greater than 0, got 0"),
        ("train", "budget", 1.5, "must be less than or equal to 1, got 1.5"),
        ("train", "budget", float("nan"), "must be less than or equal to 1, got nan"),
        ("train", "epochs", 0, "must be greater than 0, got 0"),
        ("train", "epochs", True, "must be a number, got True"),
        ("train", "epochs", 1e300, "must be less than or equal to 1000000, got 1e+300"),
        ("train", "momentum", 1.0, "must be less than 1, got 1.0"),
        ("train", "warmup", 1, "must be less than 1, got 1"),
        ("train", "batch_size", 0, "must be greater than or equal to 1, got 0"),
        ("train", "batch_size", 1.5, "must be a whole number, got 1.5"),
        ("train", "seed", True, "must be a whole number, got True"),
        ("train", "seed", -1, "must be greater than or equal to 0, got -1"),
        ("train", "seed", 2**63, "must be less than 9223372036854775808, got 9223372036854775808"),
        ("train", "nesterov", 1, "must be true or false, got 1"),
        ("train", "nesterov", "no", "must be true or false, got 'no'"),
        ("train", "model", 20, "must be text, got 20"),
        ("train", "schedule", "step", "must be 'steps', 'cosine' or 'linear', got 'step'"),
        ("train", "precision", "fp16", "must be 'auto', 'float32' or 'bf16', got 'fp16'"),
        ("train", "device", "gpu", "must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        ("train", "device", "cuda:0\n", "must be auto, cpu, cuda or cuda:N, got 'cuda:0\\n'"),
        ("run", "methods", "crest", "must be a list, such as [crest, random], got 'crest'"),
        ("run", "methods", [], "must list at least one, got []"),
        ("run", "methods", ["full", "full"], "lists 'full' twice, got ['full', 'full']"),
        ("crest", "subset_size", 0, "a count is at least 1, got 0"),
        ("crest", "subset_size", -5, "a count is at least 1, got -5"),
        ("crest", "subset_size", 1.0, "a share lies between 0 and 1"),
        ("crest", "subset_size", 0.0, "a share lies between 0 and 1"),
        ("crest", "subset_size", float("nan"), "a share lies between 0 and 1"),
        ("crest", "subset_size", True, "must be a share of the data, such as 0.01, or a count"),
        ("crest", "subset_size", "1%", "must be a share of the data, such as 0.01, or a count"),
        ("crest", "threshold", 0, "must be greater than 0, got 0"),
        ("evaluate", "batch_size", 0, "must be greater than or equal to 1, got 0"),
        ("prepare", "classes", 1, "must be greater than or equal to 2, got 1"),
        ("prepare", "validation", 1.0, "must be less than 1, got 1.0"),
        ("train", "augment_flip", "Alternating", "must be true or false or 'alternating', got "),
        ("analyze", "scores_from", "../full", "must be a name of letters, digits and . _ -"),
    ],
)
def test_a_bad_value_is_named_and_explained(section, key, value, expected) -> None:
    found = message({section: {key: value}})
    assert found.startswith(f"params.yaml: {section}.{key}: {expected}")
    assert "\n" not in found
    assert not any(word in found for word in INTERNALS)


@pytest.mark.parametrize("bad", [[], 3, "abc", ["lr"]])
def test_a_section_must_hold_keys(bad) -> None:
    assert message({"crest": bad}) == f"params.yaml: crest: must be a section of keys, got {bad!r}"


def test_a_fault_in_a_list_names_its_place() -> None:
    names = ["full", "../crest", 3]
    assert message({"run": {"methods": names}}).splitlines() == [
        "params.yaml: run.methods.1: must be a name of letters, digits and . _ -, as folders "
        "have, got '../crest'",
        "params.yaml: run.methods.2: must be text, got 3",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"train": {"learning_rat": 1}}, "train.learning_rat: unknown key"),
        ({"train": {"epoch": 1}}, "train.epoch: unknown key; did you mean 'train.epochs'?"),
        ({"trian": {}}, "trian: unknown key; did you mean 'train'?"),
        (
            {"train": {"BatchSize": 1}},
            "train.BatchSize: unknown key; did you mean 'train.batch_size'?",
        ),
        (
            {"train": {"learning_rate": 1}},
            "train.learning_rate: unknown key; did you mean 'train.lr'?",
        ),
        ({"crest": {"tau": 1}}, "crest.tau: unknown key; did you mean 'crest.threshold'?"),
        (
            {"train": {"schedule": "Cosin"}},
            "train.schedule: must be 'steps', 'cosine' or 'linear', got 'Cosin'; did you mean "
            "'cosine'?",
        ),
        (
            {"run": {"track": ["tensor_board"]}},
            "run.track.0: must be 'dvclive', 'tensorboard', 'mlflow' or 'wandb', got "
            "'tensor_board'; did you mean 'tensorboard'?",
        ),
        ({"zzz": None}, "zzz: unknown key"),
        ({"full": {"lr": 1}}, "full.lr: unknown key"),
        ({"train": {1: 2}}, "train.1: must be named by text, got 1"),
        ({"train": {"two\nlines": 1}}, "train.two lines: unknown key"),
    ],
)
def test_an_unknown_key_is_named(values, expected) -> None:
    assert message(values).startswith(f"params.yaml: {expected}")
    assert len(message(values).splitlines()) == 1


def test_every_fault_has_a_line() -> None:
    faults = {"train": {"lr": 0, "seed": "x", "ls": 1}, "crest": {"proxy": 1}}
    lines = message(faults).splitlines()
    named = [line.split(": ")[1] for line in lines]
    assert named == ["train.lr", "train.seed", "train.ls", "crest.proxy"]


def test_nesterov_needs_momentum() -> None:
    found = message({"train": {"momentum": 0.0, "nesterov": True}})
    assert found == "params.yaml: train.nesterov: needs a train.momentum above 0, got True"
    assert parse({"train": {"momentum": 0.9, "nesterov": True}}, "test").train.nesterov
    assert parse({"train": {"momentum": 0.0}}, "test").train.momentum == 0.0


def test_a_whole_number_is_a_number() -> None:
    assert parse({"train": {"lr": 1, "epochs": 2}}, "test").train.lr == 1.0


def test_a_share_and_a_count_stay_what_they_are() -> None:
    share = parse({"crest": {"subset_size": 0.5}}, "test").crest.subset_size
    count = parse({"crest": {"subset_size": 1}}, "test").crest.subset_size
    assert (share, type(share), count, type(count)) == (0.5, float, 1, int)


@pytest.mark.parametrize("text", ["", "null\n", "# nothing\n", "train:\n", "train: {}\n"])
def test_what_is_absent_takes_its_default(tmp_path, text) -> None:
    assert load(write(tmp_path, text)) == Parameters()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- train\n", "must hold sections such as 'train:', not ['train']"),
        ("train\n", "must hold sections such as 'train:', not 'train'"),
        ("3\n", "must hold sections such as 'train:', not 3"),
        ("1: {}\n", "must hold sections such as 'train:', not {1: {}}"),
        ("train: [\n", "not valid YAML: line 2: expected the node content"),
        ("train:\n\tlr: 1\n", "not valid YAML: line 2: found character '\\t'"),
        ("a: b: c\n", "not valid YAML: line 1: mapping values are not allowed here"),
        ("train: {lr: 1, lr: 2}\n", 'not valid YAML: line 1: found duplicate key "lr"'),
        ("train: {lr: 2024-13-45}\n", "not valid YAML: month must be in 1..12"),
        ("a: !!python/object:os.system {}\n", "not valid YAML: line 1: could not determine"),
        ("\0", "not valid YAML: unacceptable character"),
        ("[" * 1000, "not valid YAML: nested too deeply"),
        ("train: {lr: 2024-01-01}\n", "train.lr: must be a number, got datetime.date(2024, 1, 1)"),
    ],
)
def test_a_file_that_holds_no_parameters_says_so_in_a_line(tmp_path, text, expected) -> None:
    path = write(tmp_path, text)
    assert load_message(path).startswith(f"{path}: {expected}")


def test_a_file_that_cannot_be_read_says_why(tmp_path) -> None:
    missing = tmp_path / "none.yaml"
    assert load_message(missing) == (
        f"{missing}: no such parameter file; run in the project folder or name one with --params"
    )
    assert load_message(tmp_path).startswith(f"{tmp_path}: cannot be read: ")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\xfd")
    assert load_message(binary).startswith(f"{binary}: cannot be read: text in UTF-16")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbftrain: {lr: 1e-05}\n",  # as editors on Windows save it
        b"train:\r\n  lr: 1e-05\r\n",
        b"train: {lr: 0.00001}",
        b"train: {lr: 1E-5} # \xc3\xa9",
        b"train: {lr: &lr 1e-05, weight_decay: *lr}\n",
    ],
)
def test_a_file_may_be_saved_in_any_usual_way(tmp_path, content) -> None:
    """DVC writes 1e-05 for -S train.lr=0.00001, which YAML 1.1 takes for text."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    assert load(path).train.lr == load(path, ["train.lr=0.00001"]).train.lr == 1e-05


def levels(count: int, value: str) -> str:
    """Each level holds the one before it ten times."""
    lines = ["a: &a {k: 1, l: [1, 2, 3]}"]
    for last, name in pairwise("abcdefghijklmnop"[: count + 1]):
        lines.append(f"{name}: &{name} " + value.format(", ".join(10 * [f"*{last}"])))
    return "\n".join(lines)


@pytest.mark.parametrize("value", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_that_multiply_are_refused_at_once(tmp_path, value) -> None:
    started = time.perf_counter()
    found = load_message(write(tmp_path, levels(15, value)))
    assert found.endswith("more than 10000 values, once its aliases are replaced")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        "train: " + "[" * 100_000,
        *(nest * 30_000 for nest in ("- ", "? ", "&a [", "{a: ", "!!!")),
        "train: {lr: " + "1" * 100_000 + "}",
        "train: [" + "1, " * 100_000 + "1]",
    ],
)
def test_a_file_without_an_end_is_refused_at_once(tmp_path, text) -> None:
    started = time.perf_counter()
    load_message(write(tmp_path, text))
    assert time.perf_counter() - started < 10


def test_a_pipe_or_a_device_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/stdin")):
        if path.is_file():  # what pytest was started with
            continue
        assert load_message(path).startswith(f"{path}: cannot be read: a pipe or a device")


def numeric_fields() -> list[tuple[str, str]]:
    """Every parameter that takes a number, or true and false."""
    return [
        (section, key)
        for section, keys in FIELDS.items()
        for key in keys
        if any(accepted(section, key, value) for value in (0, 1, 2, 5, 0.5, True))
    ]


def accepted(section: str, key: str, value: Any) -> Parameters | None:
    values: dict[str, Any] = {}
    put(values, f"{section}.{key}", value)
    try:
        return parse(values, "test")
    except ParameterError:
        return None


def test_the_numeric_parameters_are_found() -> None:
    assert len(numeric_fields()) > 70
    assert ("crest", "quadratic.order") in numeric_fields()


@pytest.mark.parametrize(("section", "key"), numeric_fields())
def test_what_dvc_takes_for_the_same_means_the_same(section, key) -> None:
    """false is 0 to DVC, and true 1: a change from one to the other would run nothing."""
    for equal in ((False, 0, 0.0, -0.0), (True, 1, 1.0), (2, 2.0)):
        found = [accepted(section, key, value) for value in equal]
        taken = [value_of(getattr(one, section), key) for one in found if one is not None]
        assert len({(type(value), value) for value in taken}) <= 1, (equal, taken)


@pytest.mark.parametrize(("section", "key"), numeric_fields())
def test_every_number_has_bounds(section, key) -> None:
    if (section, key) in SIZES_OF_DATA:
        return
    for value in (10**30, -(10**30), 2**63, 1e308, -1e308, float("inf"), float("nan")):
        assert accepted(section, key, value) is None, value


# Held against the data, which are not known yet.
SIZES_OF_DATA = {
    (section, key)
    for section, key in numeric_fields()
    if accepted(section, key, 0.5) and accepted(section, key, 500)
} | {("prepare", "classes")}


def test_yaml_is_read_as_dvc_reads_it(tmp_path) -> None:
    """In YAML 1.1 1e-3 would be text, and a model named 'off' false."""
    found = load(write(tmp_path, "train: {lr: 1e-3, weight_decay: 5E-4, model: off}")).train
    assert (found.lr, found.weight_decay, found.model) == (0.001, 0.0005, "off")


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train.lr=0.5", "train", "lr", 0.5),
        ("train.lr=1e-3", "train", "lr", 0.001),
        (" train.lr = 0.5 ", "train", "lr", 0.5),
        ("run.methods=[full, random]", "run", "methods", ("full", "random")),
        ("reuse.models=[]", "reuse", "models", ()),
        ("reuse.models=[owner/bert, a/b/c]", "reuse", "models", ("owner/bert", "a/b/c")),
        ("prepare.source=null", "prepare", "source", None),
        ("prepare.source=hf://a/b=c", "prepare", "source", "hf://a/b=c"),
        ("train.nesterov=true", "train", "nesterov", True),
        ("report.title='a: b'", "report", "title", "a: b"),
        ("crest.subset_size=0.5", "crest", "subset_size", 0.5),
        ("crest.learned.loss=0.2", "crest", "learned.loss", 0.2),
        ("crest.learned={loss: 0.2}", "crest", "learned.loss", 0.2),
        ("focused.focus.until=1", "focused", "focus.until", 1.0),
    ],
)
def test_an_override_is_yaml_and_wins_over_the_file(
    tmp_path, override, section, key, value
) -> None:
    path = write(tmp_path, "train: {lr: 0.2, epochs: 3}\nprepare: {source: here}\ncrest:\n")
    found = load(path, [override])
    assert value_of(getattr(found, section), key) == value
    assert found.train.epochs == 3


def test_a_group_keeps_what_an_override_does_not_name(tmp_path) -> None:
    path = write(tmp_path, "crest: {learned: {window: 7}}\n")
    for override in ("crest.learned={loss: 0.2}", "crest.learned.loss=0.2"):
        learned = load(path, [override]).crest.learned
        assert (learned.loss, learned.window) == (0.2, 7)


@pytest.mark.parametrize(("old", "new"), KEYS.items())
def test_an_old_key_is_refused_with_the_new_name(tmp_path, old, new) -> None:
    values: dict[str, Any] = {}
    put(values, old, 0.5)
    assert message(values) == f"params.yaml: {old}: is called '{new}' now"
    assert load_message(write(tmp_path, ""), f"{old}=0.5").endswith(f"{old}: is called '{new}' now")
    assert new in {f"{section}.{key}" for section, keys in FIELDS.items() for key in keys}


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [(key, *pair) for key, values in VALUES.items() for pair in values.items()],
)
def test_an_old_value_is_refused_with_the_new_name(tmp_path, key, old, new) -> None:
    found = load_message(write(tmp_path, ""), f"{key}={old}")
    assert found.endswith(f"params.yaml with -S: {key}: '{old}' is called '{new}' now")
    load(write(tmp_path, ""), [f"{key}={new}"])


def test_old_names_do_not_hide_other_faults() -> None:
    faults = {"crest": {"looks": "fresh", "threshold": -1.0}, "train": {"lr": 0}}
    assert {line.split(": ")[1] for line in message(faults).splitlines()} == {
        *("crest.looks", "crest.threshold", "train.lr")
    }


def test_the_fault_of_a_group_names_its_key() -> None:
    assert message({"crest": {"focus": {"exponent": 0.5}}}) == (
        "params.yaml: crest.focus.exponent: above 0 needs crest.draw: without_replacement or "
        "stratified_without_replacement, got 0.5"
    )
    assert message({"focused": {"focus": {"ceiling": 2.0, "exponent": 0.0}}}) == (
        "params.yaml: focused.focus.ceiling: needs a focus above 0; without one examples are drawn "
        "uniformly, got 2.0"
    )


def test_the_section_of_a_method_is_what_it_declares() -> None:
    parameters = parse({"crest": {"threshold": 0.2}}, "test")
    assert parameters.of(CrestParameters).threshold == 0.2
    assert parameters.of_method("crest") is parameters.of(CrestParameters)
    for name, spec in METHODS.items():
        assert type(parameters.of_method(name)) is spec.parameters


def test_the_last_override_wins(tmp_path) -> None:
    assert load(write(tmp_path, ""), ["train.seed=1", "train.seed=2"]).train.seed == 2


@pytest.mark.parametrize(
    "override", ["", "=", "lr=1", "train=1", "train.=1", ".lr=1", "a..b=1", "train.lr"]
)
def test_an_override_without_section_key_and_value_is_refused(tmp_path, override) -> None:
    found = load_message(write(tmp_path, ""), override)
    assert found == f"-S {override}: write it as section.key=value, e.g. train.budget=0.2"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.lrs=1", "params.yaml with -S: train.lrs: unknown key; did you mean 'train.lr'?"),
        ("trains.lr=1", "params.yaml with -S: trains: unknown key; did you mean 'train'?"),
        ("train.lr.x=1", "params.yaml with -S: train.lr: must be a number, got {'x': 1}"),
        ("train.seed.x=1", "-S train.seed.x=1: 'train.seed' is not a section of keys"),
        (
            "crest.learned.los=1",
            "params.yaml with -S: crest.learned.los: unknown key; did you mean",
        ),
        ("crest.learned=1", "params.yaml with -S: crest.learned: must be a section of keys, got 1"),
        ("train.lr=", "params.yaml with -S: train.lr: must be a number, got None"),
        ("train.lr=[", "-S train.lr=[: the value '[' is not valid YAML: line 1"),
    ],
)
def test_a_bad_override_is_named(tmp_path, override, expected) -> None:
    found = load_message(write(tmp_path, "train: {seed: 1}"), override)
    assert found.removeprefix(f"{tmp_path}/").startswith(expected)


def test_an_override_of_what_is_no_section_is_refused(tmp_path) -> None:
    found = load_message(write(tmp_path, "report: text"), "report.title=x")
    assert found == "-S report.title=x: 'report' is not a section of keys"


def test_the_repositorys_parameters_load() -> None:
    assert load(REPOSITORY / "params.yaml").run.methods


def test_parameters_are_frozen() -> None:
    parameters = Parameters()
    with pytest.raises(ValidationError, match="frozen"):
        parameters.train.lr = 1.0
    with pytest.raises(ValidationError, match="frozen"):
        parameters.train = TrainParameters()
    assert isinstance(parse({"run": {"methods": ["full"]}}, "test").run.methods, tuple)


def test_every_section_is_strict() -> None:
    for name, field in Parameters.model_fields.items():
        assert isinstance(field.default, Section), name
        assert message({name: {"no_such_key": 1}}).startswith(f"params.yaml: {name}.no_such_key")


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(
    sorted({name for keys in FIELDS.values() for key in keys for name in key.split(".")})
)
SECTIONS = st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=6)


@given(
    st.dictionaries(
        st.sampled_from(list(FIELDS)) | st.text(max_size=8), SECTIONS | VALUES, max_size=5
    )
)
def test_anything_parses_or_is_a_parameter_error(values) -> None:
    try:
        parameters = parse(values, "here")
    except ParameterError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(line.startswith("here: ") for line in lines)
    else:
        assert parse(parameters.model_dump(), "again") == parameters


@given(st.text(alphabet="train:lr{}[]&*!#-\n\t '\"0123.e,?|>%@`", max_size=40))
def test_any_text_loads_or_is_a_parameter_error(tmp_path_factory, text) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    with contextlib.suppress(ParameterError):
        assert load(path, ["train.lr=0.25"]).train.lr == 0.25


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"augment_scale": [0.5, 0.2]}, "augment_scale: the first must not be greater than"),
        ({"augment_scale": [0.0, 1.0]}, "augment_scale"),
        ({"augment_crop": 4, "augment_scale": [0.1, 1.0]}, "set train.augment_crop to 0"),
        ({"augment_flip": "sometimes"}, "augment_flip"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"augment_hue": 0.6}, "augment_hue"),
    ],
)
def test_views_that_cannot_be_made_are_refused_by_their_key(keys, message):
    with pytest.raises(ParameterError, match=message):
        parse({"train": keys}, "test")


def test_views_are_what_the_keys_name():
    keys = {"augment_scale": [0.1, 1.0], "augment_flip": "alternating", "augment_erasing": 0.5}
    found = augmentation_of(parse({"train": keys}, "test").train)
    assert found == Augmentation(scale=(0.1, 1.0), flip="alternating", erasing=0.5)
    assert augmentation_of(parse({}, "test").train) == Augmentation()
