"""Prepared text against the tokenizer itself."""

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from crest.data.build import build
from crest.data.datasets import open_source
from crest.data.files import read_meta
from crest.data.origins import sources_of
from crest.data.prepared import load
from crest.data.tokens import TextFile
from crest.data.vocabulary import load_tokenizer, vocabulary_hash
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters
from tests.tiny_text import VOCABULARY, WORDS, tiny_tokenizer

CPU = torch.device("cpu")
COUNT = 60


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return str(tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture(scope="module")
def pairs():
    """Random pairs of sentences, some long."""
    draw = np.random.default_rng(0)

    def sentences():
        lengths = draw.integers(1, 30, COUNT)
        return [" ".join(draw.choice(WORDS, length)) for length in lengths]

    return pl.DataFrame(
        {"first": sentences(), "second": sentences(), "label": [0, 1, 2] * (COUNT // 3)}
    )


@pytest.fixture
def prepare(tmp_path, tokenizer, pairs):
    """A function that prepares the pairs; returns the folder of the result."""
    for split in ("train", "test"):
        pairs.write_csv(tmp_path / f"{split}.csv")

    def prepared(name="out", **parameters):
        values = {
            "dataset": "text",
            "source": str(tmp_path),
            "tokenizer": tokenizer,
            "text_columns": ("first", "second"),
            "validation": 0.0,
            "max_length": 40,
        }
        params = PrepareParameters(**(values | parameters))
        folder = tmp_path / name
        folder.mkdir()
        build(open_source(params), params, folder, lambda count: None)
        return folder

    return prepared


@pytest.mark.parametrize("columns", [("first",), ("first", "second")])
@pytest.mark.parametrize("max_length", [8, 40, 200])
def test_inputs_are_those_of_the_tokenizer(prepare, tokenizer, pairs, columns, max_length):
    split = load(prepare(text_columns=columns, max_length=max_length), CPU).train
    chosen = torch.tensor([5, 0, 59, 17])
    texts = [[pairs[name][int(row)] for row in chosen] for name in columns]
    expected = load_tokenizer(tokenizer)(
        *texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt"
    )
    found = split.inputs(chosen)
    assert found.keys() == {"input_ids", "attention_mask", "token_type_ids"}
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name
        assert value.dtype == torch.int64
    same = split.views(chosen, split.draw_views(len(chosen), torch.Generator()))
    assert all(torch.equal(same[name], value) for name, value in found.items())
    assert torch.equal(split.lengths[chosen], found["attention_mask"].sum(1))


def test_meta_says_what_was_done(prepare, tokenizer, pairs):
    meta = read_meta(prepare(max_length=20, validation=0.5))
    lengths = [
        len(load_tokenizer(tokenizer)(first, second)["input_ids"])
        for first, second in pairs.select("first", "second").rows()
    ]
    test = {
        str(share): float(np.percentile(lengths, share, method="inverted_cdf"))
        for share in (0, 50, 90, 99, 100)
    }
    assert meta.lengths["test"] == test
    assert meta.truncated["test"] == sum(length > 20 for length in lengths)
    assert meta.truncated["train"] + meta.truncated["validation"] == meta.truncated["test"]
    assert meta.sizes == {"train": 30, "validation": 30, "test": 60}
    assert meta.classes == ["0", "1", "2"]
    assert meta.text_columns == ["first", "second"]
    assert meta.vocabulary_size == len(VOCABULARY)
    assert meta.vocabulary_hash == vocabulary_hash(load_tokenizer(tokenizer))
    assert meta.dropped == {"train": 0, "test": 0}


def test_every_text_leads_back_to_its_row(prepare, tmp_path, pairs):
    """Rows without a label are left out, and counted all the same."""
    unlabelled = pl.when(pl.int_range(pl.len()) % 7 == 0).then(-1).otherwise("label")
    names = {"first": "premise", "second": "hypothesis"}
    for split in ("train", "test"):
        pairs.with_columns(label=unlabelled).rename(names).write_csv(tmp_path / f"{split}.csv")
    folder = prepare("gaps", dataset="snli", text_columns=None, validation=0.5)
    rows = []
    for split in ("train", "validation"):
        texts = pl.read_parquet(folder / f"{split}_texts.parquet")
        places = sources_of(folder, split)
        assert set(places["file"]) == {str(tmp_path / "train.csv")}
        assert texts.rows() == pairs[places["row"]].select("first", "second").rows()
        rows += places["row"].to_list()
    assert sorted(rows) == [row for row in range(COUNT) if row % 7]


def test_nothing_is_stored_of_the_padding(prepare):
    folder = prepare()
    for name in ("train", "test"):
        tokens, offsets = (np.load(folder / f"{name}_{part}.npy") for part in ("tokens", "offsets"))
        assert (tokens != 0).all()
        assert offsets[0] == 0
        assert offsets[-1] == len(tokens)


def test_texts_are_kept_row_by_row(prepare, pairs):
    folder = prepare(validation=0.5)
    texts = {name: pl.read_parquet(folder / f"{name}_texts.parquet") for name in ("train", "test")}
    assert texts["test"].equals(pairs.select("first", "second"))
    assert len(texts["train"]) == 30
    # What the row's tokens say is what its text says.
    split = load(folder, CPU).train
    words = VOCABULARY[int(split.inputs(torch.tensor([7]))["input_ids"][0, 1])]
    assert texts["train"]["first"][7].split()[0] == words
    assert not [path for path in folder.iterdir() if path.is_dir()]


def test_the_result_does_not_depend_on_how_it_was_read(prepare, monkeypatch):
    whole = prepare("whole")
    monkeypatch.setattr("crest.data.tokens.BATCH", 7)
    monkeypatch.setattr("crest.data.tokens.ROWS_AT_ONCE", 11)
    pieces = prepare("pieces")
    assert read_meta(whole) == read_meta(pieces)
    for path in whole.glob("*.parquet"):
        assert pl.read_parquet(path).equals(pl.read_parquet(pieces / path.name))


def test_texts_in_many_parts_come_back_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("crest.data.tokens.ROWS_AT_ONCE", 2)
    frames = [
        pl.DataFrame({"text": [f"{number}, {place}" for place in range(3)]}) for number in range(9)
    ]
    with TextFile(tmp_path / "texts.parquet") as file:
        for frame in frames:
            file.append(frame)
    assert pl.read_parquet(tmp_path / "texts.parquet").equals(pl.concat(frames))


def test_a_tokenizer_without_token_types_gives_none(prepare, tmp_path):
    import json
    import shutil

    folder = shutil.copytree(prepare().parent, tmp_path / "copy")
    plain = tiny_tokenizer(folder / "plain")
    settings = json.loads((plain / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "attention_mask"]
    (plain / "tokenizer_config.json").write_text(json.dumps(settings))
    split = load(prepare("second", tokenizer=str(plain)), CPU).train
    assert split.inputs(torch.tensor([0, 1])).keys() == {"input_ids", "attention_mask"}


def test_a_folder_whose_name_looks_like_a_pattern_is_written(prepare, pairs):
    folder = prepare("[out]*")
    assert pl.read_parquet(folder / "train_texts.parquet", glob=False).equals(pairs[:, :2])


def test_a_text_without_tokens_is_named(tmp_path):
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()  # which takes control characters away
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(tmp_path)
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("text,label\na,0\n\x01,1\n")
    params = PrepareParameters(
        dataset="text", source=str(tmp_path), tokenizer=str(tmp_path), validation=0.0
    )
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(DataError, match=r"train.csv, column 'text', row 1 .*: .* no tokens"):
        build(open_source(params), params, folder, lambda count: None)


@pytest.mark.parametrize("method", ["write_parquet", "sink_parquet"])
def test_a_disk_that_fills_up_under_the_texts_is_an_os_error(prepare, monkeypatch, method):
    def full(self, *_, **__):
        raise pl.exceptions.ComputeError("parquet: File too large (os error 27)")

    monkeypatch.setattr(pl.DataFrame if method == "write_parquet" else pl.LazyFrame, method, full)
    with pytest.raises(OSError, match="File too large"):
        prepare()


def test_a_batch_of_none_is_empty(prepare):
    batch = load(prepare(), CPU).train.inputs(torch.zeros(0, dtype=torch.int64))
    assert {name: tuple(values.shape) for name, values in batch.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), (0, 0)
    )


def test_text_needs_a_tokenizer(prepare):
    with pytest.raises(ParameterError, match=r"prepare\.tokenizer: text needs one: the name or"):
        prepare(tokenizer=None)


def test_a_tokenizer_that_is_not_there_is_told_in_a_line(prepare, tmp_path):
    with pytest.raises(ParameterError, match=r"^prepare\.tokenizer: .*/nowhere: no such folder"):
        prepare(tokenizer=str(tmp_path / "nowhere"))


def test_a_length_that_holds_no_text_is_refused(prepare):
    with pytest.raises(ParameterError, match=r"prepare\.max_length: 4 is less than .*, 5; raise"):
        prepare(max_length=4)


def test_the_hash_tells_vocabularies_apart(tokenizer, tmp_path):
    first = load_tokenizer(tokenizer)
    other = load_tokenizer(tokenizer)
    assert vocabulary_hash(first) == vocabulary_hash(other)
    other.add_tokens(["new"])
    assert vocabulary_hash(first) != vocabulary_hash(other)


def test_real_pairs_are_prepared(samples, tmp_path, tokenizer):
    params = PrepareParameters(
        dataset="snli", source=str(samples / "snli"), tokenizer=tokenizer, max_length=64
    )
    meta = build(open_source(params), params, tmp_path, lambda count: None)
    assert meta.sizes == {"train": 8857, "validation": 985, "test": 9824}
    assert meta.classes == ["entailment", "neutral", "contradiction"]
    assert load(tmp_path, CPU).train.inputs(torch.arange(3))["input_ids"].shape[0] == 3
