"""Tokenizers of transformers, and what tells one vocabulary from another."""

import hashlib
from typing import Any

from crest.errors import ParameterError


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
    from transformers import AutoTokenizer
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what goes wrong is raised
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True, trust_remote_code=False)
    # What is raised for a folder without a tokenizer is of every kind.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ParameterError(
            f"{key}: no tokenizer of {name} can be loaded ({reason}); name a model of the Hugging "
            "Face hub, or a folder with its tokenizer.json (where HF_HUB_OFFLINE is set, one that "
            "is in the cache)"
        ) from None
    finally:
        logging.set_verbosity(verbosity)
    if not tokenizer.is_fast:
        raise ParameterError(f"{key}: {name} has no fast tokenizer; use a model that has one")
    if tokenizer.pad_token_id is None:
        raise ParameterError(
            f"{key}: the tokenizer of {name} has no padding token; use an encoder's, such as "
            "roberta-base"
        )
    return tokenizer


def vocabulary_size(tokenizer: Any) -> int:
    """Return the highest number of a token, plus one; there may be gaps."""
    return 1 + int(max(tokenizer.get_vocab().values()))


def vocabulary_hash(tokenizer: Any) -> str:
    """SHA-256 over the tokens in the order of their numbers."""
    digest = hashlib.sha256()
    for token, number in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        digest.update(f"{token}\t{number}\n".encode())
    return digest.hexdigest()
