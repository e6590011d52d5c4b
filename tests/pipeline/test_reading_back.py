"""The line that export prints names every parameter, as YAML and a shell give it back."""

import shlex

import pytest

from crest.config import load
from crest.parameters.sections import PrepareParameters
from crest.pipeline.reading_back import as_yaml, options, read_by
from tests.data.test_prepared import META
from tests.data.test_ragged import META as TEXT_META

ODD = [
    "null",
    "1e3",
    "a: b",
    "~",
    "x # y",
    "it's",
    'say "x"',
    "tr\u00fce",
    "[a",
    "*a",
    "no",
    "a\nb",
]


@pytest.mark.parametrize("out", ["sub", "/tmp/a b/c", *ODD])
def test_a_shell_and_yaml_give_back_what_was_meant(tmp_path, out):
    words = shlex.split(options(read_by(META, out, "label")))
    assert words[::2] == ["-S"] * (len(words) // 2)
    (tmp_path / "params.yaml").write_text("prepare: {source: elsewhere}")
    assert load(tmp_path / "params.yaml", words[1::2]).prepare.source == out


@pytest.mark.parametrize("meta", [META, TEXT_META])
def test_every_parameter_that_matters_is_named(meta):
    named = {key.removeprefix("prepare.") for key in read_by(meta, "sub", "label")}
    assert set(PrepareParameters.model_fields) - named <= {"max_length", "seed", "workers", "fit"}


def test_texts_are_written_without_quotes_where_they_are_read_as_themselves():
    assert as_yaml("sub/data") == "sub/data"
    assert as_yaml("12") == '"12"'
    assert as_yaml(None) == "null"
    assert as_yaml(["a", "b"]) == '["a", "b"]'
