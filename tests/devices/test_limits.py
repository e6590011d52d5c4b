"""Every numeric parameter at its limits: a result or a message in seconds, never a traceback."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from crest.analysis.gradient_error import gradient_errors
from crest.config import Parameters, parse
from crest.devices import limits
from crest.errors import CrestError, ParameterError
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.methods import METHODS
from crest.parameters.section import keys_of, put
from crest.samplers.sizes import subset_size
from crest.training.loop import train
from crest.training.schedules import budget_steps, total_steps
from crest.training.snapshots import Snapshots
from tests.tiny import FLOAT32, context, convnet, image_split, in_groups

EXAMPLES, STEPS = 60, 3
LIMITS = (
    *(0, 1, 2, 1000, 1_000_000, 2**31 - 1, 2**63 - 1, 10**30),
    *(0.5, 0.999999999999, 1e-30, 5e-324, 1e6, 1e30, 1e308, 100.0),
)
ODD = (-0.0, True, 2.0, "1", -1, float("nan"))
SMALL = {
    "train": {"batch_size": 8, "precision": "float32", "device": "cpu", "epochs": 1, "lr": 0.01},
    "crest": {"subset_size": 16, "minibatch_factor": 2.0},
    "greedy": {"subset_size": 16},
    "craig": {"coreset_size": 16},
    "gradmatch": {"coreset_size": 16},
    "glister": {"coreset_size": 16, "validation": 0.2},
}
# How else crest goes on.
VARIANTS = (
    {},
    {
        "selection": "on_demand",
        "draw": "without_replacement",
        "outputs": "remembered",
        "gradient": "training",
    },
)
# Stages that prepare and report have no numbers but those that tests of theirs look at.
ELSEWHERE = {"prepare", "replay", "reuse", "report"}


def settings(section: str, key: str, value: object, **more: object) -> Parameters:
    merged = {**SMALL, section: in_groups(section, {**SMALL.get(section, {}), **more})}
    put(merged, f"{section}.{key}", value)
    return parse(merged, "test")


def accepted(section: str, key: str, value: object) -> bool:
    try:
        settings(section, key, value)
    except ParameterError:
        return False
    return True


def numeric_fields() -> list[tuple[str, str]]:
    return [
        (section, key)
        for section, field in Parameters.model_fields.items()
        if section not in ELSEWHERE
        for key in keys_of(type(field.default))
        if any(accepted(section, key, value) for value in (0, 1, 0.5, 20))
    ]


def extremes(section: str, key: str) -> list[object]:
    """The two least and the two greatest values that are taken, and whatever odd one is."""
    taken = sorted(value for value in LIMITS if accepted(section, key, value))
    odd = [value for value in ODD if accepted(section, key, value)]
    return list(dict.fromkeys([*taken[:2], *taken[-2:], *odd]))


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail where a block takes longer."""

    def give_up(number: int, frame: object) -> None:
        raise AssertionError(f"took more than {seconds} seconds")

    earlier = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)


def run(parameters: Parameters, method: str) -> None:
    """Train for a few of the steps that the parameters ask for, and evaluate."""
    split, model = image_split(EXAMPLES), convnet()
    own = parameters.train
    steps = budget_steps(own.budget, total_steps(own.epochs, len(split), own.batch_size))
    sections = {name: values for name, values in parameters.model_dump().items() if values}
    found = context(model, split, min(steps, STEPS), **sections)
    if own.threads is not None:
        limits.require_threads("train.threads", own.threads)
    chooser = METHODS[method].build(found.of(method))
    # As many moments as there may be; none of them is written.
    with patch.object(Snapshots, "save"):
        train(model, chooser, split, split, found.steps, own, FLOAT32)
    evaluate(Evaluator(model, split, FLOAT32), parameters.evaluate.batch_size)
    if method == "crest" and parameters.crest.selection == "ahead":
        measure(parameters, found, model)


def measure(parameters: Parameters, found: object, model: torch.nn.Module) -> None:
    """Measure gradients as analyze does."""
    analyze, own = parameters.analyze, parameters.crest
    size = subset_size(own, EXAMPLES, parameters.train.batch_size)
    limits.require_passes("analyze.gradient_draws", analyze.gradient_draws, size, EXAMPLES, "draws")
    gradient_errors(
        Evaluator(model, found.train, FLOAT32),
        torch.empty(0, dtype=torch.int64),
        parameters.crest,
        parameters.train.batch_size,
        2,
        found.generator,
        analyze.gradient_sample,
        analyze.gradient_draws,
    )


@pytest.mark.parametrize(("section", "key"), numeric_fields())
def test_a_limit_ends_in_a_result_or_in_a_message(section, key) -> None:
    methods = [section] if section in METHODS else ["random"]
    if section == "analyze":
        methods = ["crest"]
    values = extremes(section, key)
    assert values
    for method, more, value in product(methods, VARIANTS if section == "crest" else [{}], values):
        parameters = settings(section, key, value, **more)
        if section != "analyze":
            parameters = with_few_draws(parameters)
        with within(20):
            message = message_of(parameters, method)
        assert len(message.splitlines()) <= 1, (value, message)


def message_of(parameters: Parameters, method: str) -> str:
    """Run; returns the message of the error that people would be shown, if there is one."""
    try:
        run(parameters, method)
    except CrestError as error:
        return str(error)
    return ""


def with_few_draws(parameters: Parameters) -> Parameters:
    few = parameters.analyze.model_copy(update={"gradient_draws": 2, "gradient_sample": 16})
    return parameters.model_copy(update={"analyze": few})


@pytest.mark.parametrize(
    ("section", "key", "more", "expected"),
    [
        (
            "crest",
            "curvature.hutchinson_draws",
            {},
            "2147483647 draws, each of 16 examples, are 572662306 ",
        ),
        (
            "crest",
            "curvature.minibatches",
            {"selection": "on_demand"},
            "2147483647 mini-batches, each of 16 examples, are 572662306 ",
        ),
    ],
)
def test_what_scores_the_data_without_an_end_is_refused(section, key, more, expected) -> None:
    """The count that the message names is taken, and one more is not."""
    message = message_of(settings(section, key, 2**31 - 1, **more), section)
    assert message.startswith(f"{section}.{key}: {expected}passes over the 60 training examples")
    most = int(message.partition("use at most ")[2].partition(",")[0])
    examples = int(message.partition("each of ")[2].partition(" ")[0])
    limits.require_passes(key, most, examples, EXAMPLES, "draws")
    with pytest.raises(ParameterError, match=f"use at most {most}, 100 passes"):
        limits.require_passes(key, most + 1, examples, EXAMPLES, "draws")


def test_more_memory_than_there_is_is_refused_and_said(monkeypatch) -> None:
    monkeypatch.setattr(limits, "memory", lambda: 10**9)
    limits.require_memory("train.epochs", 10**9, "the tables")
    with pytest.raises(ParameterError) as caught:
        limits.require_memory("train.epochs", 2e9, "the tables")
    assert str(caught.value) == (
        "train.epochs: the tables would take 2.0 GB of memory, the machine has 1.0 GB; lower it"
    )


@pytest.mark.parametrize("method", ["crest", "greedy", "craig"])
def test_distances_that_memory_cannot_hold_are_refused(monkeypatch, method) -> None:
    monkeypatch.setattr(limits, "memory", lambda: 1000)
    parameters = settings("craig", "per_class", False)
    with pytest.raises(ParameterError, match=r"the distances between \d+ examples would take"):
        run(with_few_draws(parameters), method)


def test_snapshots_that_the_disk_cannot_hold_are_refused(tmp_path) -> None:
    limits.require_space("train.snapshots", 0, "4 snapshots", tmp_path / "not" / "there")
    with pytest.raises(
        ParameterError, match=r"4 snapshots would take 1,000,000,000\.0 TB, .* free"
    ):
        limits.require_space("train.snapshots", 10**21, "4 snapshots", tmp_path / "not" / "there")
    limits.require_space("train.snapshots", 0, "none", Path("relative"))


def test_threads_are_held_against_cores_and_what_the_system_starts(monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    limits.require_threads("train.threads", 2)
    limits.require_threads("train.threads", 32)
    with pytest.raises(ParameterError, match="1024 threads for 2 cores; use at most 32, or null"):
        limits.require_threads("train.threads", 1024)
    with (
        patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread")),
        pytest.raises(
            ParameterError, match=r"does not let this process start 32 threads .* use 2,"
        ),
    ):
        limits.require_threads("train.threads", 32)


def test_more_steps_than_tables_hold_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"a run has at most 2147483647: lower train\.epochs"):
        total_steps(1e6, 10**9, 32)
