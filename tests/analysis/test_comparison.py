"""The summary's derived numbers and the sentences made from them."""

import pytest

from crest.analysis.comparison import DERIVED, SUMMARY, cautions, findings, format_table, summarise


def row(method, accuracy, seconds, steps=100, model="convnet", reused=False):
    values = dict.fromkeys(SUMMARY, None) | {
        "method": method,
        "model": model,
        "reused": reused,
        "accuracy": accuracy,
        "loss": 0.5,
        "budget": steps / 1000,
        "steps": steps,
        "examples_trained": 32 * steps,
        "seconds": seconds,
        "updates": 0,
    }
    return {key: value for key, value in values.items() if key not in DERIVED}


FULL = row("full", 0.8, 100.0, steps=1000)
RANDOM = row("random", 0.6, 10.0)


def sentences(*rows, seeds=(0,), test_examples=10_000):
    summary = summarise(rows)
    return [*findings(summary, test_examples), *cautions(summary, seeds, test_examples)]


def test_relative_error_is_the_papers_with_its_sign():
    summary = summarise([row("crest", 0.6, 40.0), row("random", 0.9, 10.0), FULL])
    assert summary["relative_error"].to_list() == pytest.approx([0.25, -0.125, 0.0])
    assert summary["speedup"].to_list() == pytest.approx([2.5, 10.0, 1.0])
    assert dict(summary.schema) == dict(SUMMARY)


def test_only_full_trainings_model_is_measured_against_it():
    other = row("replay", 0.7, 5.0, model="resnet20", reused=True)
    same = row("replay", 0.7, 5.0, reused=True)
    summary = summarise([FULL, other, same])
    assert summary["speedup"].to_list() == [1.0, None, 20.0]


def test_a_reused_model_is_no_full_training():
    assert (
        summarise([row("full", 0.8, 9.0, reused=True), RANDOM])["speedup"].to_list() == [None] * 2
    )


def test_full_training_that_learned_nothing_divides_nothing():
    summary = summarise([row("full", 0.0, 0.0), row("random", 0.5, 0.0)])
    assert summary["relative_error"].to_list() == [None, None]
    assert summary["speedup"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("accuracy", "seconds", "expected"),
    [
        (0.5, 40.0, "crest is 10.0 points less accurate and took 4 times as long."),
        (0.7, 5.0, "crest is 10.0 points more accurate and took 0.5 of the time."),
        (0.6, 10.0, "crest is equally accurate (within 0.05 points) and took just as long."),
        (0.5, 2345.6, "crest is 10.0 points less accurate and took 235 times as long."),
    ],
)
def test_crest_against_random_in_words(accuracy, seconds, expected):
    found = sentences(row("crest", accuracy, seconds), RANDOM)
    assert any(
        sentence.startswith(f"Against random mini-batches for as many steps, {expected}")
        for sentence in found
    )


def loaded(made, seconds_train, size=32):
    return made | {"seconds_train": seconds_train, "examples_trained": size * made["steps"]}


def test_seconds_at_different_load_have_no_ratio():
    """243 steps of 4.77 ms for crest, and of 10.3 ms for random, which chooses nothing."""
    crest = loaded(row("crest", 0.65, 1.6, steps=243), 1.16)
    random = loaded(row("random", 0.65, 2.53, steps=243), 2.51)
    full = loaded(row("full", 0.8, 10.3, steps=1000), 10.3)
    found = " ".join(sentences(crest, random, full))
    load = "their seconds were measured at different load: its training steps alone took 4.77 ms"
    assert f"{load} each, random's 10.3 ms." in found
    assert f"{load} each, full's 10.3 ms." in found
    assert "crest is 15.0 points less accurate and took" not in found
    assert "random is 15.0 points less accurate and took 0.25 of the time." in found
    speedups = summarise([crest, random, full])["speedup"].to_list()
    assert speedups == [None, pytest.approx(10.3 / 2.53), 1.0]


@pytest.mark.parametrize(
    ("seconds_train", "size"), [(1.25, 32), (0.8, 32), (4.0, 128), (None, 32), (0.0, 32)]
)
def test_steps_alike_of_other_work_or_unknown_are_compared(seconds_train, size):
    crest = loaded(row("crest", 0.5, 40.0), seconds_train, size)
    found = " ".join(sentences(crest, loaded(RANDOM, 1.0)))
    assert "took 4 times as long" in found


def test_steps_that_differ_are_said():
    found = sentences(row("crest", 0.5, 9.0, steps=90), RANDOM)
    assert any("random mini-batches for 100 steps" in sentence for sentence in found)


@pytest.mark.parametrize(("test_examples", "too_small"), [(100, True), (10_000, False)])
def test_a_difference_within_the_test_splits_own_error_is_called_so(test_examples, too_small):
    found = " ".join(sentences(row("crest", 0.65, 9.0), RANDOM, test_examples=test_examples))
    assert ("too small to tell that difference from chance" in found) == too_small


def test_one_seed_is_one_seed():
    assert "once, with seed 3" in sentences(RANDOM, seeds=[3])[-1]
    assert "not all with the same seed" in sentences(RANDOM, seeds=[3, 4])[-1]
    # sqrt(0.6 * 0.4 / 600) = 0.02
    assert "±2.0 points" in sentences(RANDOM, test_examples=600)[-1]


def test_full_alone_is_compared_with_nothing():
    assert len(sentences(FULL)) == 1


def test_table_shows_a_dash_for_what_is_not_known():
    lines = format_table(summarise([RANDOM])).splitlines()
    assert lines[1].split() == ["random", "convnet", "60.00%", "–", "100", "10.0", "–"]
