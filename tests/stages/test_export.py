"""export: what leaves comes back, bit by bit, as a table or as a data set of its own."""

import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from crest import artifacts
from crest.config import load, parse
from crest.data.build import build
from crest.data.files import ImageMeta, TextMeta, open_array, read_meta, write_meta
from crest.data.origins import with_sources
from crest.data.sources import Source
from crest.data.stored_images import open_images
from crest.data.verifying import with_hashes
from crest.errors import ArtifactError, DataError, ParameterError
from crest.pipeline import reading_back, sheets
from crest.pipeline.paths import Paths
from stages import export, prepare, train
from tests.tiny import digits_parameters
from tests.tiny_text import tiny_model

SHARD = "train-00000-of-00001.parquet"
FILES = {"README.md"} | {
    f"data/{split}-00000-of-00001.parquet" for split in ("train", "validation", "test")
}


OTHERS = """
prepare: {dataset: text, source: elsewhere, image_column: img, label_column: fine, seed: 5,
  train_split: training, test_split: held, validation_split: dev, text_columns: [a, b],
  tokenizer: another, max_length: 7, classes: 2, image_size: 3, validation: 0.3, workers: 2}
"""


def exported(paths, out, **options):
    return export.run(digits_parameters(), paths, out, **options)


def read_split(folder, split="train"):
    return pl.read_parquet(folder / "data" / f"{split}-*.parquet")


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def saved(paths):
    return artifacts.read_table(paths.train("crest") / artifacts.CORESETS)


def prepared_again(meta, out, folder):
    """The parameters that the export names, applied over ones that would read it otherwise."""
    overrides = reading_back.read_by(meta, str(out), export._own_names(meta)["label"])
    others = Path(folder.parent / "others.yaml")
    others.write_text(OTHERS)
    params = load(others, [f"{key}={value}" for key, value in overrides.items()]).prepare
    prepare.run(params, folder)
    return read_meta(folder)


# ------------------------------------------------------------------------------------------- CSV


@pytest.mark.parametrize("text", ["method,step,accuracy\ncrest,1,0.5\n", "notes", "region"])
def test_csv_takes_the_place_of_another_export_and_of_no_other_file(runs, tmp_path, text):
    out = tmp_path / "curves.csv"
    out.write_text(text)
    with pytest.raises(ParameterError, match=r"curves\.csv: a file whose columns are not those"):
        exported(runs, out)
    assert out.read_text() == text
    out.write_text("")
    exported(runs, out)
    whole = out.read_text()
    out.write_text(whole.splitlines()[0] + "\n")
    exported(runs, out)
    assert out.read_text() == whole
    out.write_text(whole.splitlines()[0].removesuffix(",file,row") + "\n")
    exported(runs, out)  # an export of earlier code, which had no sources
    assert out.read_text() == whole


def test_csv_has_every_row_of_the_coresets_and_the_name_of_its_class(runs, tmp_path):
    out = tmp_path / "mine" / "coresets.csv"
    done = exported(runs, out)
    table = saved(runs)
    found = pl.read_csv(out, schema_overrides=dict(artifacts.TABLES["coresets"]))
    assert found.drop("class", "file", "row").equals(table)
    assert with_sources(table, runs.prepared)["row"].equals(found["row"])
    assert set(found["file"]) == {"digits, train"}
    assert found["class"].cast(pl.Int64).equals(table["label"], check_names=False)
    assert done.rows == len(table)
    assert done.examples == table["index"].n_unique()
    assert list(export.notes(done, out)) == [
        f"{out}: {done.examples} of 1,297 training examples, selected {len(table)} times into "
        f"{done.minibatches} mini-batches"
    ]


@pytest.mark.parametrize("regions", ["3", "1-2", "-1:2", "a:b", "1:2:3"])
def test_regions_that_are_no_range_are_refused(runs, tmp_path, regions):
    with pytest.raises(ParameterError, match=r"--regions .*: write it as A:B"):
        exported(runs, tmp_path / "c.csv", regions=regions)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("regions", "kept"), [("1:2", [1]), ("1:", [1, 2]), (":1", [0]), (":", [0, 1, 2]), ("2:9", [2])]
)
def test_some_regions_only(coloured, tmp_path, regions, kept):
    exported(coloured, tmp_path / "c.csv", regions=regions)
    found = pl.read_csv(tmp_path / "c.csv")
    assert found["region"].unique().sort().to_list() == kept
    exported(coloured, tmp_path / "subset", regions=regions)
    assert read_split(tmp_path / "subset")["index"].to_list() == sorted(set(found["index"]))


@pytest.mark.parametrize("regions", ["2:2", "1000:", "3:1"])
def test_a_range_of_no_regions_is_refused_and_the_earlier_export_stays(runs, tmp_path, regions):
    out = tmp_path / "subset"
    exported(runs, out)
    before = {name: (out / name).read_bytes() for name in files(out)}
    with pytest.raises(ParameterError, match=r"none of the coresets' regions, 0 to \d+$"):
        exported(runs, out, regions=regions)
    assert {name: (out / name).read_bytes() for name in files(out)} == before
    assert [path.name for path in tmp_path.iterdir()] == ["subset"]


# ---------------------------------------------------------------------------------------- images


def test_a_data_set_holds_each_selected_example_once_and_the_other_splits_whole(runs, tmp_path):
    out = tmp_path / "subset"
    done = exported(runs, out)
    table = saved(runs)
    assert files(out) == FILES
    chosen = read_split(out)
    assert chosen.columns == ["image", "label", "weight", "selected", "index", "file", "row"]
    assert chosen.select("index", "file", "row").equals(
        with_sources(chosen.select("index"), runs.prepared)
    )
    assert chosen["index"].to_list() == sorted(set(table["index"]))
    assert len(chosen) == done.examples
    assert chosen["selected"].sum() == len(table)
    assert chosen["weight"].mean() == pytest.approx(1)
    for split in ("validation", "test"):
        whole = read_split(out, split)
        assert whole["index"].to_list() == list(range(read_meta(runs.prepared).sizes[split]))
        assert set(whole["file"]) == {f"digits, {'test' if split == 'test' else 'train'}"}
        assert set(whole["weight"]) == {1}
        assert set(whole["selected"]) == {0}


def test_images_come_back_bit_by_bit_with_their_labels(runs, tmp_path):
    out = tmp_path / "subset"
    exported(runs, out)
    meta = prepared_again(read_meta(runs.prepared), out, tmp_path / "again")
    assert meta.sizes == {
        **read_meta(runs.prepared).sizes,
        "train": saved(runs)["index"].n_unique(),
    }
    indices = {"train": sorted(set(saved(runs)["index"]))}
    indices |= {"validation": slice(None), "test": slice(None)}
    for split, rows in indices.items():
        before = open_array(runs.prepared, split, "images")[rows]
        # Grey comes back as three channels that are the same: prepare makes compressed images RGB.
        after = open_array(tmp_path / "again", split, "images")
        np.testing.assert_array_equal(after, np.broadcast_to(before, after.shape))
        labels = open_array(runs.prepared, split, "labels")[rows]
        np.testing.assert_array_equal(open_array(tmp_path / "again", split, "labels"), labels)
    assert meta.classes == read_meta(runs.prepared).classes


class Coloured:
    """Images of random colours, in memory."""

    def __init__(self, count, seed):
        draw = np.random.default_rng(seed)
        self._images = draw.integers(0, 256, (count, 5, 7, 3), dtype=np.uint8)

    def __len__(self):
        return len(self._images)

    def labels(self):
        return pl.Series([("ant", "bee")[row % 2] for row in range(len(self))])

    def examples(self):
        yield list(self._images)

    def label_at(self, row):
        return f"row {row}"

    example_at = label_at


class Compressed(Coloured):
    """The same as files, every other one a JPEG."""

    def files(self):
        for number, pixels in enumerate(self._images):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, ("JPEG", "PNG")[number % 2])
            yield stream.getvalue()

    def examples(self):
        yield list(self.files())


def project(tmp_path, kind, **params):
    """A project of such images with three mini-batches of them."""
    paths = Paths(tmp_path / "coloured")
    paths.prepared.mkdir(parents=True)
    given = parse({"prepare": {"validation": 0.0, **params}}, "test").prepare
    build(Source(kind(40, 0), kind(6, 1)), given, paths.prepared, lambda done: None)
    indices = [3, 8, 21, 8, 4, 39, 2, 0, 3]
    rows = {
        "region": [0, 0, 0, 1, 1, 1, 2, 2, 2],
        "minibatch": [0] * 9,
        "position": [0, 1, 2] * 3,
        "index": indices,
        "label": [index % 2 for index in indices],
        "weight": [0.5, 1.5, 1.0] * 3,
        "loss": [1.0] * 9,
    }
    path = paths.train("crest") / artifacts.CORESETS
    artifacts.write_table(path, pl.DataFrame(rows))
    return paths


@pytest.fixture
def coloured(tmp_path):
    """A project of coloured images with three mini-batches of them."""
    return project(tmp_path, Coloured)


def test_encoded_images_are_exported_as_they_are_stored(tmp_path):
    paths = project(tmp_path, Compressed, storage="encoded", image_size=4, fit="squeeze")
    out = tmp_path / "subset"
    exported(paths, out)
    chosen = read_split(out)
    contents = list(Compressed(40, 0).files())
    names = []
    for row in chosen.iter_rows(named=True):
        assert row["image"]["bytes"] == contents[row["index"]]
        names.append(row["image"]["path"])
    assert names == ["0.jpg", "2.jpg", "3.png", "4.jpg", "8.jpg", "21.png", "39.png"]
    before = read_meta(paths.prepared)
    after = prepared_again(before, out, tmp_path / "again")
    assert (after.storage, after.fit, after.image_shape) == ("encoded", "squeeze", [4, 4, 3])
    found = open_images(tmp_path / "again", "train", after)
    expected = open_images(paths.prepared, "train", before)
    for place, index in enumerate(chosen["index"]):
        np.testing.assert_array_equal(found[place], expected[index])
    cards = sheets.CONTENTS["image"](paths.prepared, before, [3, 8])
    assert all(card.startswith("data:image/png;base64,") for card in cards.values())


def test_colours_and_names_of_classes_come_back_from_several_files(coloured, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "SHARD_BYTES", 3 * 5 * 7 * 3)  # three images
    out = tmp_path / "subset"
    exported(coloured, out)
    names = sorted(path.name for path in (out / "data").glob("train-*"))
    assert names == [f"train-{number:05}-of-00003.parquet" for number in range(3)]
    meta = prepared_again(read_meta(coloured.prepared), out, tmp_path / "again")
    assert meta.classes == ["ant", "bee"]
    kept = [0, 2, 3, 4, 8, 21, 39]
    before = open_array(coloured.prepared, "train", "images")[kept]
    np.testing.assert_array_equal(open_array(tmp_path / "again", "train", "images"), before)
    assert open_array(tmp_path / "again", "train", "labels").tolist() == [0, 0, 1, 0, 0, 1, 1]
    chosen = read_split(out)
    assert chosen["index"].to_list() == kept
    assert chosen["selected"].to_list() == [1, 1, 2, 1, 2, 1, 1]
    sums = np.array([1.5, 0.5, 1.5, 1.5, 2.0, 1.0, 1.0])
    np.testing.assert_allclose(chosen["weight"], sums / sums.mean(), rtol=1e-6)


def test_a_reader_that_knows_nothing_of_us_finds_the_images(coloured, tmp_path):
    out = tmp_path / "subset"
    exported(coloured, out)
    images = open_array(coloured.prepared, "train", "images")
    for row in read_split(out).iter_rows(named=True):
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            assert image.format == "PNG"
            np.testing.assert_array_equal(np.asarray(image), images[row["index"]])
        assert row["image"]["path"] == f"{row['index']}.png"


def test_the_card_names_the_splits_and_the_type_of_each_column(coloured, tmp_path):
    out = tmp_path / "subset"
    exported(coloured, out)
    card = (out / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    for entry in head["configs"][0]["data_files"]:
        assert list(out.glob(entry["path"]))
    columns = {entry["name"]: entry["dtype"] for entry in head["dataset_info"]["features"]}
    assert list(columns) == read_split(out).columns
    assert columns["image"] == "image"
    assert columns["label"] == {"class_label": {"names": {"0": "ant", "1": "bee"}}}
    assert "7 of 40 training examples, selected 9 times into 3 mini-batches" in card


def test_an_export_of_one_class_is_said_not_to_be_read(coloured, tmp_path):
    out = tmp_path / "subset"
    path = coloured.train("crest") / artifacts.CORESETS
    even = artifacts.read_table(path).filter(pl.col("label") == 0)
    artifacts.write_table(path, even)
    done = exported(coloured, out)
    assert list(export.notes(done, out))[1:] == [
        "no example of class bee was selected",
        "prepare cannot read it: all examples that were selected are of one class",
    ]
    with pytest.raises(DataError, match="all labels are the same"):
        prepared_again(read_meta(coloured.prepared), out, tmp_path / "again")


def test_classes_that_were_not_selected_stay_classes(coloured, tmp_path):
    out = tmp_path / "subset"
    meta = read_meta(coloured.prepared)
    names = ["ant", "bee", "\x1b[31mcow", "=dog"]
    write_meta(coloured.prepared, ImageMeta(**(vars(meta) | {"classes": names})))
    done = exported(coloured, out)
    assert "no example of class '\\x1b[31mcow', =dog was selected" in list(export.notes(done, out))
    again = prepared_again(read_meta(coloured.prepared), out, tmp_path / "again")
    assert again.classes == names
    assert "2 of 4 classes have no training example: '\\x1b[31mcow', =dog" in prepare.notes(again)
    table = list(export.notes(exported(coloured, tmp_path / "c.csv"), tmp_path / "c.csv"))
    assert table[1].startswith("names of classes begin with =, +, - or @ (1 of them), which a spr")


def test_what_a_shard_says_of_itself_is_the_files_own(coloured, tmp_path):
    out = tmp_path / "subset"
    exported(coloured, out)
    (shard,) = (out / "data").glob("train-*")
    described = pl.read_parquet_metadata(shard)
    features = json.loads(described["huggingface"])["info"]["features"]
    assert features["label"] == {"names": ["ant", "bee"], "_type": "ClassLabel"}
    assert features["image"] == {"_type": "Image"}
    # With an Arrow schema there, `datasets` would take its metadata, which Polars cannot set.
    assert "ARROW:schema" not in described
    assert b"ARROW:schema" not in shard.read_bytes()


def test_an_export_replaces_an_export_but_no_other_folder(coloured, tmp_path):
    out = tmp_path / "subset"
    exported(coloured, out)
    exported(coloured, out)
    assert files(out) == {name for name in FILES if "validation" not in name}
    for name, change in ((f"data/{SHARD}", pl.DataFrame({"a": [1]})), ("README.md", "# Mine")):
        kept = (out / name).read_bytes()
        if isinstance(change, str):
            (out / name).write_text(change)
        else:
            change.write_parquet(out / name)
        with pytest.raises(ParameterError, match=f"holds {name}, which is not of an export"):
            exported(coloured, out)
        (out / name).write_bytes(kept)
    exported(coloured, out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ParameterError, match=r"holds notes\.txt, which is not of an export"):
        exported(coloured, out)
    with pytest.raises(ParameterError, match="is not of an export, or was changed since"):
        exported(coloured, coloured.root)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_failure_leaves_the_earlier_export(coloured, tmp_path, monkeypatch):
    out = tmp_path / "subset"
    exported(coloured, out)
    before = {name: (out / name).read_bytes() for name in files(out)}

    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="make room on the disk"):
        exported(coloured, out)
    assert {name: (out / name).read_bytes() for name in files(out)} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coloured", "subset"]


def test_channels_that_no_png_holds_are_refused(coloured, tmp_path):
    for split in ("train", "test"):
        images = np.array(open_array(coloured.prepared, split, "images")[..., :2])
        np.save(coloured.prepared / f"{split}_images.npy", images)
    meta = read_meta(coloured.prepared)
    assert isinstance(meta, ImageMeta)
    values = vars(meta) | {"image_shape": [5, 7, 2], "mean": [0.5] * 2, "std": [0.3] * 2}
    write_meta(coloured.prepared, with_hashes(coloured.prepared, ImageMeta(**values)))
    with pytest.raises(ArtifactError, match="images of 2 channels cannot be exported"):
        exported(coloured, tmp_path / "subset")
    exported(coloured, tmp_path / "coresets.csv")


def test_coresets_of_other_data_are_refused(project, tmp_path):
    prepare.run(digits_parameters(prepare={"seed": 7}).prepare, project.prepared)
    for out in (tmp_path / "c.csv", tmp_path / "subset"):
        with pytest.raises(ArtifactError, match="these coresets were chosen from other data"):
            exported(project, out)
        assert not out.exists()


def test_coresets_alone_will_do(runs, tmp_path):
    exported(runs, tmp_path / "run")
    exported(runs, tmp_path / "file", coresets=runs.train("crest") / artifacts.CORESETS)
    assert read_split(tmp_path / "run").equals(read_split(tmp_path / "file"))


# ------------------------------------------------------------------------------------------ text

ANIMALS = ("cat", "dog")


@pytest.fixture(scope="module")
def of_text(tmp_path_factory):
    """A project of pairs of texts, one column of them called as one of ours, and a run on it."""
    root = tmp_path_factory.mktemp("text")
    model = tiny_model(root / "bert")
    for split, count in (("train", 60), ("test", 12)):
        rows = [
            {"label": f'the {ANIMALS[row % 2]}, "{row}"', "b": f"a\n{row}", "animal": row % 2}
            for row in range(count)
        ]
        (root / "csv").mkdir(exist_ok=True)
        pl.DataFrame(rows).write_csv(root / "csv" / f"{split}.csv")
    values = {
        "prepare": {
            "dataset": "text",
            "source": str(root / "csv"),
            "text_columns": ["label", "b"],
            "label_column": "animal",
            "tokenizer": str(model),
            "max_length": 32,
        },
        "train": {"model": str(model), "epochs": 2, "budget": 0.5, "batch_size": 6}
        | {"optimizer": "adamw", "lr": 0.01, "precision": "float32", "device": "cpu", "threads": 1},
        "crest": {"subset_size": 18, "minibatch_factor": 2.0},
    }
    parameters = parse(values, "test")
    paths = Paths(root / "project")
    prepare.run(parameters.prepare, paths.prepared)
    train.run(parameters, paths, "crest")
    return paths


def test_texts_come_back_letter_by_letter_under_their_own_names(of_text, tmp_path):
    out = tmp_path / "subset"
    exported(of_text, out)
    meta = read_meta(of_text.prepared)
    assert isinstance(meta, TextMeta)
    chosen = read_split(out)
    own = ["label_", "weight", "selected", "index", "file", "row"]
    assert chosen.columns == ["label", "b", *own]
    source = pl.read_parquet(of_text.prepared / "train_texts.parquet")
    assert chosen.select("label", "b").equals(source[chosen["index"]].select("label", "b"))
    again = prepared_again(meta, out, tmp_path / "again")
    for name in ("tokens", "offsets", "second_starts", "labels"):
        before = open_array(of_text.prepared, "test", name)
        np.testing.assert_array_equal(open_array(tmp_path / "again", "test", name), before)
    labels = open_array(of_text.prepared, "train", "labels")[chosen["index"].to_numpy()]
    np.testing.assert_array_equal(open_array(tmp_path / "again", "train", "labels"), labels)
    assert again.sizes == {"train": len(chosen), "validation": 6, "test": 12}


def test_the_way_back_for_texts_is_a_line_that_a_shell_takes(of_text, tmp_path):
    done = exported(of_text, tmp_path / "subset")
    last = list(export.notes(done, tmp_path / "subset"))[-1]
    assert last.startswith("prepare reads it (and replaces data/prepared) with -S prepare.dataset=")
    assert """-S 'prepare.text_columns=["label", "b"]'""" in last
    assert "-S prepare.label_column=label_" in last


def test_texts_that_are_gone_are_said_to_be(of_text, tmp_path):
    project = Paths(tmp_path / "project")
    project.prepared.parent.mkdir(parents=True)
    chosen = of_text.train("crest")
    prepared = project.prepared
    prepared.mkdir()
    for path in of_text.prepared.iterdir():
        if path.name != "train_texts.parquet":
            (prepared / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ArtifactError, match=r"train_texts\.parquet: no such file; run"):
        exported(project, tmp_path / "subset", coresets=chosen)
