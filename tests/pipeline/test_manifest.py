"""manifest.json: results that are another run's, or not as they were written, are refused."""

import shutil
from dataclasses import replace

import polars as pl
import pytest

from crest import artifacts
from crest.config import parse
from crest.data.files import read_meta
from crest.errors import ArtifactError
from crest.pipeline import manifest
from stages import analyze, evaluate, export, prepare, reuse, train
from tests.conftest import copied
from tests.tiny import digits_parameters

AGAIN = "make it again"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.csv").write_text("1\n2\n")
    (tmp_path / "sub" / "b").write_bytes(b"\x00" * 3_000_000)
    manifest.seal(tmp_path, {"crest": "this run"}, "abc")
    return tmp_path


def test_what_was_sealed_is_found_whole(folder):
    found = manifest.read(folder, AGAIN)
    assert found.run("crest") == "this run"
    assert sorted(found.files) == ["a.csv", "sub/b"]
    found.verify("a.csv", "sub/b")


@pytest.mark.parametrize("content", [b"1\n", b"1\n3\n", b"", b"1\n2\n\n"])
def test_a_changed_file_is_refused_by_name(folder, content):
    (folder / "a.csv").write_bytes(content)
    found = manifest.read(folder, AGAIN)
    found.verify("sub/b")
    with pytest.raises(ArtifactError, match=r"a\.csv: not as it was written: .*make it again"):
        found.verify("a.csv")


def test_a_file_that_is_gone_or_new_is_refused(folder):
    found = manifest.read(folder, AGAIN)
    (folder / "c").touch()
    with pytest.raises(ArtifactError, match="c: not a file of the run in this folder"):
        found.verify("c")
    (folder / "a.csv").unlink()
    with pytest.raises(ArtifactError, match=r"a\.csv: no such file; make it again"):
        found.verify("a.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema version 2, this code reads 1"),
        ({"runs": ["crest"]}, "damaged"),
        ({"files": None}, "damaged"),
        ({"files": {"a.csv": 1}}, "damaged"),
        ({"data": 5}, "damaged"),
        ({"coresets": {"run": 5}}, "damaged"),
        ({"runs": {"crest": "x", "full": None}}, "damaged"),
    ],
)
def test_a_damaged_manifest_is_one_message(folder, change, message):
    path = folder / "manifest.json"
    artifacts.write_json(path, artifacts.read_json(path) | change)
    with pytest.raises(ArtifactError, match=f"{message}.*make it again"):
        manifest.read(folder, AGAIN)


def test_a_run_made_again_is_the_same_run_and_another_is_not(digits, tmp_path):
    paths = copied(digits, tmp_path)
    train.run(digits_parameters(), paths, "random")
    first = identity(paths)
    train.run(digits_parameters(run={"save_interval": 7}), paths, "random", fresh=True)
    assert identity(paths) == first
    for changed in ({"lr": 0.05}, {"seed": 1}, {"snapshots": 2}):
        train.run(digits_parameters(train=changed), paths, "random")
        assert identity(paths) != first
    assert artifacts.read_json(paths.train("random") / "run.json")["run"] == identity(paths)


def identity(paths):
    found = manifest.of_training(paths.train("random"), "random").run("random")
    assert artifacts.read_json(paths.train("random") / "metrics.json")["run"] == found
    return found


@pytest.fixture
def anew(project):
    """Runs whose data were prepared anew, with other images held out, of the same labels."""
    settings = digits_parameters(prepare={"seed": 1})
    prepare.run(settings.prepare, project.prepared)
    return settings, project


def test_results_of_data_that_were_prepared_anew_are_refused_everywhere(anew, tmp_path):
    parameters, paths = anew
    other = "of other data than data/prepared holds now; make it again with .*train --method"
    with pytest.raises(ArtifactError, match=f"train/random: {other} random"):
        evaluate.run(parameters, paths, "random")
    with pytest.raises(ArtifactError, match="other data"):
        analyze.run(parameters, paths)


def test_coresets_of_data_that_were_prepared_anew_are_refused(runs, tmp_path):
    """Even where every label agrees, as labels do not tell images apart."""
    paths = copied(runs, tmp_path / "project")
    source = paths.train("crest")
    alone = tmp_path / "chosen.parquet"
    shutil.copyfile(source / "coresets.parquet", alone)
    meta = replace(read_meta(paths.prepared), content_hash="0" * 64)
    for coresets in (source, source / "coresets.parquet", alone):
        with pytest.raises(ArtifactError, match=r"parquet: chosen from other data than data/prep"):
            manifest.coresets_origin(coresets, meta)
    (source / "manifest.json").unlink()
    artifacts.write_table(  # as before coresets said what they were chosen from
        source / "coresets.parquet", artifacts.read_table(source / "coresets.parquet")
    )
    with pytest.raises(ArtifactError, match=r"parquet: chosen from other data than data/prep"):
        manifest.coresets_origin(source, meta)
    assert manifest.coresets_origin(source / "coresets.parquet", meta)["run"] is None


@pytest.mark.parametrize("alone", [False, True])
def test_coresets_of_another_run_in_a_runs_folder_are_refused(runs, tmp_path, alone):
    paths = copied(runs, tmp_path / "project")
    source = paths.train("crest")
    table = artifacts.read_table(source / "coresets.parquet")
    artifacts.write_table(
        source / "coresets.parquet", table.with_columns(pl.lit(2.0).alias("weight"))
    )
    given = source / "coresets.parquet" if alone else source
    match = r"coresets\.parquet: not as it was written: .*choose them again"
    with pytest.raises(ArtifactError, match=match):
        export.run(digits_parameters(), paths, tmp_path / "out.csv", given)
    with pytest.raises(ArtifactError, match=match):
        reuse.run(digits_parameters(), paths, "convnet", given)


def test_coresets_say_which_run_they_are_of(runs):
    meta = read_meta(runs.prepared)
    source = runs.train("crest")
    run = manifest.of_training(source, "crest").run("crest")
    for given in (source, source / "coresets.parquet"):
        origin = manifest.coresets_origin(given, meta)
        assert origin == {"source": str(given), "run": run}
        assert not manifest.is_outdated(origin)
        assert manifest.is_outdated(origin | {"run": "another"})
    assert not manifest.is_outdated({"source": "gone", "run": run})
    assert not manifest.is_outdated({})


def test_a_model_or_snapshot_of_another_run_is_refused(runs, tmp_path):
    paths = copied(runs, tmp_path / "project")
    ours, theirs = paths.train("crest"), paths.train("random")
    shutil.copyfile(theirs / "model.safetensors", ours / "model.safetensors")
    match = r"crest/model\.safetensors: not as it was written: .*train --method crest"
    with pytest.raises(ArtifactError, match=match):
        evaluate.run(digits_parameters(), paths, "crest")
    settings = parse({"run": {"methods": ["crest"]}, "analyze": {"scores_from": "crest"}}, "test")
    shutil.copytree(runs.train("crest"), ours, dirs_exist_ok=True)
    (ours / "snapshots").mkdir()
    shutil.copyfile(theirs / "model.safetensors", ours / "snapshots" / "step_5.safetensors")
    with pytest.raises(ArtifactError, match=r"step_5\.safetensors: not a file of the run"):
        analyze.run(settings, paths)
