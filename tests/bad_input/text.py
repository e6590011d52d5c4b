"""What may be wrong with texts and their tokenizer."""

from tests.bad_input.breaks import both, content, gone
from tests.bad_input.case import Case
from tests.bad_input.project import CSV

TEXTS = (
    "prepare -S prepare.dataset=text -S prepare.source=texts -S prepare.workers=null "
    "-S prepare.tokenizer=tokenizer -S prepare.validation=0"
)

# fmt: off

TEXT = [
    Case("no tokenizer named", TEXTS + " -S prepare.tokenizer=null",
         "prepare.tokenizer: text needs one: the name or folder of a model of transformers, "
         "usually that of train.model", code=2),
    Case("a tokenizer that is not there", TEXTS + " -S prepare.tokenizer=nowhere/at-all",
         "prepare.tokenizer: no tokenizer of nowhere/at-all can be loaded (…); name a model of the "
         "Hugging Face hub, or a folder with its tokenizer.json (where HF_HUB_OFFLINE is set, one "
         "that is in the cache)", code=2),
    Case("a tokenizer for images", "prepare -S prepare.tokenizer=tokenizer",
         "prepare.tokenizer: parquet is image data; leave it null", code=2),
    Case("an image size for text", TEXTS + " -S prepare.image_size=8",
         "prepare.image_size: text is text data; leave it null", code=2),
    Case("three text columns", TEXTS + " -S 'prepare.text_columns=[a, b, c]'",
         "params.yaml with -S: prepare.text_columns: … at most 2 items …", code=2),
    Case("a greatest length that holds no text", TEXTS + " -S prepare.max_length=2",
         "params.yaml with -S: prepare.max_length: must be greater than or equal to 4, got 2",
         code=2),
    Case("a text column that is not there", TEXTS + " -S 'prepare.text_columns=[body]'",
         "texts/train.csv: no column 'body'; its columns: text, label; set prepare.text_columns"),
    Case("a label column that is not there", TEXTS + " -S prepare.label_column=class",
         "texts/train.csv: no column 'class'; its columns: text, label; set prepare.label_column"),
    Case("no test file of that name", TEXTS + " -S prepare.test_split=test",
         "texts: no test-*.parquet or test.parquet or test.csv or test.jsonl or test.ndjson; files "
         "of these formats there: train.csv; set prepare.test_split, or set it to null to hold out "
         "a share of train", gone("texts/test.csv")),
    Case("a split in two formats", TEXTS,
         "texts: train in several formats (texts/train.csv, texts/train.jsonl); keep one",
         content("texts/train.jsonl", b'{"text": "a", "label": 0}')),
    Case("a cell without text", TEXTS,
         "texts/train.csv, column 'text', row 2 (counted from 0): there is no text; write one or "
         "remove the row", content("texts/train.csv", CSV.replace(b"no,", b","))),
    Case("a cell without a label", TEXTS,
         "texts/train.csv, column 'label', row 1 (counted from 0): the label is null; label the "
         "row or remove it", content("texts/train.csv", CSV.replace(b"dog,1", b"dog,"))),
    Case("words among the labels of train only", TEXTS,
         "texts/test.csv, column 'label', row 0 (counted from 0): labels are Int64, those of train "
         "String; use one type", content("texts/train.csv", CSV.replace(b"dog,1", b"dog,one"))),
    Case("a line that is no JSON", TEXTS, "texts/train.jsonl: cannot be read (…); correct the file",
         both(gone("texts/train.csv"), content("texts/train.jsonl", b'{"text": "a"\n{'))),
    Case("numbers for texts", TEXTS,
         "texts/train.jsonl: column 'text' holds Int64, not texts; set prepare.text_columns",
         both(gone("texts/train.csv"), content("texts/train.jsonl", b'{"text": 1, "label": 0}\n'))),
    Case("a row with too many cells", TEXTS,
         "texts/train.csv: cannot be read (…); correct the file (in CSV, texts that hold commas "
         "need quotes)", content("texts/train.csv", CSV + b"one, two,0,1,2\n")),
]
