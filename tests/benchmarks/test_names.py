"""Names of then and of today: rows keep their hashes, and are read by today's names."""

import json

import pytest

from benchmarks import ROOT
from benchmarks.experiments import commands, experiment, names, rows

FILES = sorted((ROOT / "docs" / "results").glob("*.jsonl"))
TABLE = names.Names(
    parameters={"crest.outputs": "crest.looks"},
    values={"crest.draw": {"without_replacement": "rounds"}},
    counts={"examples_scored": "examples_looked_at"},
    runs={"with focus": "focused"},
)
THEN = {
    "experiment": "short",
    "name": "focused",
    "seed": 0,
    "hash": "abc",
    "coresets_of": "focused",
    "as_long_as": {"run": "focused", "steps": 3},
    "overrides": {"crest.looks": "fresh", "crest.draw": "rounds", "train.lr": 0.1},
    "counts": {"examples_looked_at": 7, "hessian_vector_products": 2},
}
NOW = {
    "experiment": "short",
    "name": "with focus",
    "seed": 0,
    "hash": "abc",
    "coresets_of": "with focus",
    "as_long_as": {"run": "with focus", "steps": 3},
    "overrides": {"crest.outputs": "fresh", "crest.draw": "without_replacement", "train.lr": 0.1},
    "counts": {"examples_scored": 7, "hessian_vector_products": 2},
}


def test_a_row_of_then_and_one_of_now_read_the_same():
    assert TABLE.row_now(THEN) == NOW
    assert TABLE.row_now(NOW) == NOW


def test_a_row_that_depends_on_no_other_run_is_read():
    alone = {**THEN, "coresets_of": None, "as_long_as": None}
    assert TABLE.row_now(alone) == {**NOW, "coresets_of": None, "as_long_as": None}


def test_parameters_go_back_to_the_names_of_then():
    assert TABLE.overrides_then(NOW["overrides"]) == THEN["overrides"]


def test_only_values_of_the_parameter_itself_are_called_otherwise():
    assert TABLE.overrides_then({"prepare.source": "without_replacement", "crest.order": 1}) == {
        "prepare.source": "without_replacement",
        "crest.order": 1,
    }


def test_every_name_of_then_is_of_one_thing_and_none_is_in_use_today():
    known = names.names()
    for table in (known.parameters, known.counts, known.runs, *known.values.values()):
        assert len(set(table.values())) == len(table)
    assert not known.counts.keys() & set(known.counts.values())
    for values in known.values.values():
        assert not values.keys() & set(values.values())


def test_rows_that_stay_are_left_as_they_were_written(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "names", lambda: TABLE)
    path = tmp_path / "rows.jsonl"
    other = {**THEN, "name": "other"}
    path.write_text(json.dumps(THEN) + "\n" + json.dumps(other) + "\n")
    rows.Rows(path).add({**NOW, "hash": "def"})
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert written == [other, {**NOW, "hash": "def"}]
    assert [row["counts"] for row in rows.Rows(path).read()] == [NOW["counts"]] * 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_committed_run_is_done_as_its_experiment_has_it_now(path):
    found, of = commands.saved_rows(path)
    hashes = {plan.name: plan.hash for plan in of.plans}
    assert [row["name"] for row in found if hashes.get(row["name"]) != row["hash"]] == []


def test_a_hash_is_of_the_names_of_then(tmp_path, monkeypatch):
    text = (
        "description: one\n"
        "runs: [{name: a, method: crest, set: {crest.draw: without_replacement}}]\n"
    )
    monkeypatch.setattr(experiment, "names", lambda: TABLE.model_copy(update={"values": {}}))
    (tmp_path / "some.yaml").write_text(text)
    before = experiment.read(tmp_path / "some.yaml").plans[0].hash
    monkeypatch.setattr(
        experiment,
        "names",
        lambda: TABLE.model_copy(update={"parameters": {"crest.draw": "crest.drawing"}}),
    )
    assert experiment.read(tmp_path / "some.yaml").plans[0].hash != before
