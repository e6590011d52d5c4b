"""What may be wrong with texts and their tokenizer."""

import gzip

from tests.bad_input.breaks import both, content, gone
from tests.bad_input.case import Break, Case
from tests.bad_input.project import CSV

TEXTS = (
    "prepare -S prepare.dataset=text -S prepare.source=texts -S prepare.workers=null "
    "-S prepare.tokenizer=tokenizer -S prepare.validation=0"
)


def lines(text: bytes) -> Break:
    """Have train as JSON lines in place of the CSV."""
    return both(gone("texts/train.csv"), content("texts/train.jsonl", text))


# fmt: off

TEXT = [
    Case("no tokenizer named", TEXTS + " -S prepare.tokenizer=null",
         "prepare.tokenizer: text needs one: the name or folder of a model of transformers, "
         "usually that of train.model", code=2),
    Case("a tokenizer that is not there", TEXTS + " -S prepare.tokenizer=nowhere/at-all",
         "prepare.tokenizer: no tokenizer of nowhere/at-all can be loaded (the hub does not "
         "answer, and it is not whole in the cache); name a model of the Hugging Face hub, or a "
         "folder with its tokenizer.json", code=2),
    Case("a path to a tokenizer that is not there", TEXTS + " -S prepare.tokenizer=./nowhere",
         "prepare.tokenizer: ./nowhere: no such folder; correct it", code=2),
    Case("a folder without a tokenizer", TEXTS + " -S prepare.tokenizer=texts",
         "prepare.tokenizer: the folder texts holds no tokenizer that can be loaded (…); it needs "
         "tokenizer.json and tokenizer_config.json, as save_pretrained writes them", code=2),
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
         "texts: no test-*.parquet or test.parquet or test.csv or test.tsv or test.json or "
         "test.jsonl or test.ndjson; files of these formats there: train.csv; set "
         "prepare.test_split, or set it to null to hold out a share of train",
         gone("texts/test.csv")),
    Case("a split in two formats", TEXTS,
         "texts: train in several formats (texts/train.csv, texts/train.jsonl); keep one",
         content("texts/train.jsonl", b'{"text": "a", "label": 0}')),
    Case("a cell without text", TEXTS,
         "texts/train.csv, column 'text', row 2 (counted from 0), line 4: there is no text; write "
         "one or remove the row", content("texts/train.csv", CSV.replace(b"no,", b","))),
    Case("a cell without a label", TEXTS,
         "texts/train.csv, column 'label', row 1 (counted from 0), line 3: the label is null; "
         "label the row or remove it", content("texts/train.csv", CSV.replace(b"dog,1", b"dog,"))),
    Case("words among the labels of train only", TEXTS,
         "texts/test.csv, column 'label', row 0 (counted from 0), line 2: labels are Int64, those "
         "of train String; use one type",
         content("texts/train.csv", CSV.replace(b"dog,1", b"dog,one"))),
    Case("words among the labels of a few rows", TEXTS,
         "texts/train.csv, column 'label', row 4 (counted from 0), line 6: the label 'l' is no "
         "number, as the others are; correct it",
         content("texts/train.csv", CSV + b"a cat,l\n" + 10 * b"a cat,1\n")),
    Case("a label that is missing, as programs write it", TEXTS,
         "texts/train.csv, column 'label', row 1 (counted from 0), line 3: the label 'NA' is no "
         "number, as the others are; correct it",
         content("texts/train.csv", CSV.replace(b"dog,1", b"dog,NA"))),
    Case("a number written in two ways", TEXTS,
         "texts/train.csv, column 'label', row 1 (counted from 0), line 3: the label '01' stands "
         "for a number written in several ways (01, 1); correct it",
         content("texts/train.csv", CSV.replace(b"dog,1", b"dog,01"))),
    Case("a label beyond 64 bits", TEXTS,
         "texts/train.csv, column 'label', row 1 (counted from 0), line 3: the label "
         "'9223372036854775808' is beyond 64 bits, as no class number is; correct it",
         content("texts/train.csv", CSV.replace(b"dog,1", b"dog,9223372036854775808"))),
    Case("a row with too many cells", TEXTS,
         "texts/train.csv, row 4 (counted from 0), line 6: 5 cells, the header has 2; put texts "
         "that hold commas, quotes or line breaks in quotes",
         content("texts/train.csv", CSV + b"one, two,0,1,2\n")),
    Case("quotes within quotes", TEXTS,
         "texts/train.csv, row 4 (counted from 0), line 6: a cell goes on after its closing quote; "
         "write quotes within it twice", content("texts/train.csv", CSV + b'"the "big" cat",0\n')),
    Case("quotes escaped by backslashes", TEXTS,
         "texts/train.csv, row 4 (counted from 0), line 6: a cell goes on after its closing quote; "
         "write quotes within it twice (quotes are escaped by backslashes here; in CSV they are "
         "written twice)", content("texts/train.csv", CSV + b'"the \\"big\\" cat",0\n')),
    Case("a quote that is never closed", TEXTS,
         "texts/train.csv, row 2 (counted from 0), lines 4 to 5: the quote that opens a cell is "
         "never closed; close it", content("texts/train.csv", CSV.replace(b"no,", b'"no,'))),
    Case("a CSV in another encoding", TEXTS,
         "texts/train.csv, line 2: not UTF-8 (byte 0xe9 at place 13), but another encoding such as "
         "Latin-1 or Windows-1252; save the file as UTF-8",
         content("texts/train.csv", CSV.replace(b"cat", b"\xe9t\xe9"))),
    Case("a CSV in UTF-16", TEXTS,
         "texts/train.csv: UTF-16 text, not UTF-8 text; save it as UTF-8",
         content("texts/train.csv", CSV.decode().encode("utf-16"))),
    Case("a workbook named as a CSV", TEXTS,
         "texts/train.csv: a ZIP archive or an Excel workbook, not UTF-8 text; unpack it, or save "
         "it as CSV in UTF-8", content("texts/train.csv", b"PK\x03\x04" + CSV)),
    Case("semicolons in a CSV", TEXTS,
         "texts/train.csv: no column 'text'; its columns: text;label; set prepare.text_columns; or "
         "its cells are divided by semicolons, not commas: write it with commas",
         content("texts/train.csv", CSV.replace(b",", b";"))),
    Case("a CSV without a header", TEXTS,
         "texts/train.csv: no column 'text'; its columns: a cat, 0; set prepare.text_columns; or, "
         "if it has no header, write one: text,label",
         content("texts/train.csv", CSV.partition(b"\n")[2])),
    Case("two columns of one name", TEXTS,
         "texts/train.csv: more than one column 'text'; rename or drop all but one",
         content("texts/train.csv", b"text,text,label\na,b,0\n")),
    Case("half a gzip file", TEXTS, "texts/train.csv.gz: not a whole gzip file (…); get it again",
         both(gone("texts/train.csv"), content("texts/train.csv.gz", gzip.compress(CSV)[:-9]))),
    Case("a line that is no JSON", TEXTS,
         "texts/train.jsonl, row 1 (counted from 0), line 2: no JSON (… at character 2); write "
         "an object a line, or one array of objects", lines(b'{"text": "a", "label": 0}\n{\n')),
    Case("numbers for texts", TEXTS,
         "texts/train.jsonl, column 'text', row 0 (counted from 0), line 1: 1 is a whole number, "
         "not text; write it in quotes, or set prepare.text_columns",
         lines(b'{"text": 1, "label": 0}\n')),
    Case("half of a surrogate pair", TEXTS,
         "texts/train.jsonl, column 'text', row 0 (counted from 0), line 1: \"\\ud83d\" holds half "
         "of a surrogate pair, which is no character; correct it",
         lines(b'{"text": "\\ud83d", "label": 0}\n')),
    Case("a label of another type", TEXTS,
         "texts/train.jsonl, column 'label', row 2 (counted from 0), line 3: the label is text "
         '("1"), most are a whole number; write all the same way',
         lines(2 * b'{"text": "a", "label": 0}\n' + b'{"text": "a", "label": "1"}\n')),
    Case("a key that one row does not have", TEXTS,
         "texts/train.jsonl, row 1 (counted from 0), line 2: no column 'label'; its columns: text, "
         "lable; set prepare.label_column, or write it",
         lines(b'{"text": "a", "label": 0}\n{"text": "a", "lable": 0}\n')),
    Case("a key twice", TEXTS,
         "texts/train.jsonl, row 0 (counted from 0), line 1: more than one 'label'; keep one in "
         "each row", lines(b'{"text": "a", "label": 0, "label": 1}\n')),
    Case("JSON nested without an end", TEXTS,
         "texts/train.jsonl, row 0 (counted from 0), line 1: no JSON (nested too deeply); write an "
         "object a line, or one array of objects", lines(100_000 * b'{"text": ')),
]
