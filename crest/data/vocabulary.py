"""Tokenizers of transformers, and what tells one vocabulary from another."""

import hashlib
from pathlib import Path
from typing import Any

from crest.errors import ParameterError, needs_extra
from crest.files.checkpoint_files import CONFIG, describe
from crest.files.hub import Place, locate


def load_tokenizer(name: str, key: str = "prepare.tokenizer") -> Any:
    """Load the fast tokenizer of a model.

    Parameters
    ----------
    name
        Of a model on the Hugging Face hub, or a folder.
    key
        The parameter that names it, for messages.

    Raises
    ------
    ParameterError
        If there is none, it is not a fast one, or it cannot pad.
    """
    with needs_extra("text"):
        from transformers import AutoTokenizer
        from transformers.utils import logging

    place = locate(name, key)
    if place.is_folder and (Path(place.name) / CONFIG).exists():
        describe(Path(place.name), key)  # transformers reads it for the kind of tokenizer
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what goes wrong is raised
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            place.name,
            use_fast=True,
            trust_remote_code=False,
            local_files_only=place.local_files_only,
        )
        vocabulary_size(tokenizer)
    # What is raised for a folder without a tokenizer is of every kind, panics of Rust included.
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise _unloadable(name, place, key, error) from None
    finally:
        logging.set_verbosity(verbosity)
    if not tokenizer.is_fast:
        raise ParameterError(f"{key}: {name} has no fast tokenizer; use a model that has one")
    if tokenizer.pad_token_id is None:
        # As everybody does with decoders; which tokens are padding, the attention mask says.
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ParameterError(
            f"{key}: the tokenizer of {name} has no padding token, nor one for the end of a text; "
            "use an encoder's, such as roberta-base"
        )
    return tokenizer


def is_panic(error: BaseException) -> bool:
    """Whether it is how a library in Rust ends; such are no :class:`Exception`."""
    return type(error).__name__ == "PanicException"


def _unloadable(name: str, place: Place, key: str, error: BaseException) -> ParameterError:
    reason = str(error).strip().partition("\n")[0].rstrip(".:") or type(error).__name__
    if place.is_folder:
        return ParameterError(
            f"{key}: the folder {name} holds no tokenizer that can be loaded ({reason}); it needs "
            "tokenizer.json and tokenizer_config.json, as save_pretrained writes them"
        )
    if place.local_files_only:
        reason = "the hub does not answer, and it is not whole in the cache"
    return ParameterError(
        f"{key}: no tokenizer of {name} can be loaded ({reason}); name a model of the Hugging Face "
        "hub, or a folder with its tokenizer.json"
    )


def vocabulary_size(tokenizer: Any) -> int:
    """Return the highest number of a token, plus one; there may be gaps."""
    return 1 + int(max(tokenizer.get_vocab().values()))


def vocabulary_hash(tokenizer: Any) -> str:
    """SHA-256 over the tokens in the order of their numbers."""
    digest = hashlib.sha256()
    for token, number in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        digest.update(f"{token}\t{number}\n".encode())
    return digest.hexdigest()
