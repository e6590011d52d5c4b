"""Folders and names of the hub are told apart, and nothing waits for a hub that does not answer."""

import time
from unittest.mock import patch

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

from crest.data.vocabulary import load_tokenizer
from crest.errors import ParameterError
from crest.files.hub import Place, locate
from tests.tiny_text import tiny_tokenizer


@pytest.fixture
def hub(monkeypatch):
    """A function that sets what the hub's answer to everything is; returns what it was asked."""
    asked = []

    def answers(answer=None):
        def model_info(self, name, timeout):
            asked.append(name)
            if answer is not None:
                raise answer
            return object()

        monkeypatch.setattr(HfApi, "model_info", model_info)
        return asked

    return answers


@pytest.mark.parametrize(
    "name",
    [
        "./nowhere",
        "../nowhere",
        "/nowhere/at/all",
        "models/bert/base",
        "nowhere/",
        "~/nowhere-at-all",
        "~nobody-at-all/x",
        ".hidden",
        "models\\bert",
        "/" + 300 * "x",
        "./nul\0",
    ],
)
def test_a_path_without_a_folder_is_refused_and_the_hub_not_asked(hub, name):
    asked = hub()
    with pytest.raises(ParameterError, match=r"prepare.tokenizer: .*; correct it"):
        load_tokenizer(name)
    assert not asked


def test_a_file_is_no_folder(hub, tmp_path, monkeypatch):
    asked = hub()
    monkeypatch.chdir(tiny_tokenizer(tmp_path))
    with pytest.raises(ParameterError, match=r"tokenizer.json: is a file; name its folder"):
        locate("tokenizer.json", "prepare.tokenizer")
    assert locate(".", "prepare.tokenizer") == Place(".", is_folder=True, local_files_only=True)
    assert not asked


def test_a_folder_is_loaded_without_the_hub(hub, tmp_path, monkeypatch):
    asked = hub()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tiny_tokenizer(tmp_path / "owner" / "name")
    for name in ("owner/name", "owner/name/", "./owner/name", "~/owner/name"):
        assert load_tokenizer(name).pad_token == "[PAD]"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match=r"folder empty holds no tokenizer .* tokenizer.json"):
        load_tokenizer("empty")
    assert not asked


@pytest.mark.parametrize("name", ["bert", "owner/name"])
def test_a_hub_that_answers_is_asked_for_the_files(hub, name):
    expected = Place(name, is_folder=False, local_files_only=False)
    not_found = RepositoryNotFoundError.__new__(RepositoryNotFoundError)
    for answer in (None, not_found):
        assert hub(answer) is not None
        assert locate(name, "train.model") == expected


@pytest.mark.parametrize(
    "answer",
    [
        OfflineModeIsEnabled("offline"),
        ConnectionError("no route"),
        TimeoutError("late"),
        ValueError("an odd proxy"),
    ],
)
def test_a_hub_that_does_not_answer_is_not_waited_for(hub, answer):
    asked = hub(answer)
    before = time.monotonic()
    with (
        patch("socket.getaddrinfo", side_effect=AssertionError("asked the network")),
        pytest.raises(ParameterError, match=r"\(the hub does not answer, and it is not whole in"),
    ):
        load_tokenizer("nobody/nothing-at-all")
    assert time.monotonic() - before < 10
    assert asked == ["nobody/nothing-at-all"]
