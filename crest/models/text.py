"""Sequence classifiers of transformers: pretrained weights, a fresh head of the right size."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from crest.config import TrainParameters
from crest.data.files import Meta, TextMeta
from crest.data.vocabulary import load_tokenizer, vocabulary_hash
from crest.errors import ParameterError
from crest.hub import locate
from crest.models.head import features_and_logits
from crest.training.generators import torch_seed

# What a configuration says of its origin, or of classes that it had there.
FOREIGN = (
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "id2label",
    "label2id",
    "torch_dtype",
    "transformers_version",
)
# A pooled sentence is a part of the head; checkpoints of masked language models have none.
POOLER = "pooler"


class TextClassifier(nn.Module):
    """A sequence classifier of transformers that takes a dictionary and returns its logits.

    Parameters
    ----------
    network
        Answers with an object that has ``logits``, B×C.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._known = frozenset(signature(network.forward).parameters)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the logits, B×C; token types are left out where the network knows none."""
        known = {name: value for name, value in inputs.items() if name in self._known}
        logits: Tensor = self.network(**known).logits
        return logits


@dataclass(frozen=True)
class TextModelSpec:
    """What it takes to build a sequence classifier, all but its weights.

    Attributes
    ----------
    name
        On the Hugging Face hub, or a local folder; where :meth:`fresh` takes the weights from.
    classes
        Number of logits.
    vocabulary_size, vocabulary_hash
        Of the tokenizer whose ids it takes.
    max_length
        Tokens of the longest example.
    config
        The architecture, as the JSON of a configuration of transformers.
    """

    name: str
    classes: int
    vocabulary_size: int
    vocabulary_hash: str
    max_length: int
    config: str

    @classmethod
    def for_data(cls, settings: TrainParameters, meta: Meta) -> "TextModelSpec":
        """Return the spec of train.model for prepared text.

        Raises
        ------
        ParameterError
            If there is no such model, or its tokenizer is not the one the text was prepared with.
        """
        assert isinstance(meta, TextMeta)
        config = _read_config(settings.model)
        _check_vocabulary(settings.model, config, meta)
        return cls(
            name=settings.model,
            classes=len(meta.classes),
            vocabulary_size=meta.vocabulary_size,
            vocabulary_hash=meta.vocabulary_hash,
            max_length=meta.max_length,
            config=json.dumps(_own(config.to_dict()), sort_keys=True),
        )

    def fresh(self, seed: int) -> nn.Module:
        """Return the model with its pretrained weights and a head drawn from the seed.

        A head that the checkpoint has already is not used. The model is on the CPU, in float32
        and in train mode; the global random state is neither read nor changed.

        Raises
        ------
        ParameterError
            If the weights are missing or incomplete, or the model cannot take such text.
        """
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.default_generator.manual_seed(torch_seed(seed))
            drawn = _from_config(self._configuration())
            network = _with_pretrained(drawn, self.name)
        model = TextClassifier(network)
        self._try(model)
        return model.train()

    def empty(self) -> nn.Module:
        """Return the model with weights of no meaning, for a file's to be copied into."""
        with torch.random.fork_rng(devices=[]), _quiet():
            model = TextClassifier(_from_config(self._configuration()))
        self._try(model)  # which finds its last layer
        return model.train()

    def misfit(self, meta: Meta) -> str | None:
        """Say why the model is none for these prepared data; None if it is one."""
        if not isinstance(meta, TextMeta):
            return "a model of text; the prepared data are images"
        if self.classes != len(meta.classes):
            return f"a model of {self.classes} classes; the prepared data have {len(meta.classes)}"
        if self.vocabulary_hash != meta.vocabulary_hash:
            return (
                f"a model of another vocabulary ({self.vocabulary_size} tokens) than that of "
                f"{meta.tokenizer}, which the text was prepared with"
            )
        return None

    def metadata(self) -> dict[str, str]:
        """Return the spec as safetensors stores it: text to text."""
        return {
            "kind": "text",
            "model": self.name,
            "classes": str(self.classes),
            "vocabulary_size": str(self.vocabulary_size),
            "vocabulary_hash": self.vocabulary_hash,
            "max_length": str(self.max_length),
            "config": self.config,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "TextModelSpec":
        """Return the spec that :meth:`metadata` stored; KeyError or ValueError if it cannot be."""
        config = json.loads(metadata["config"])
        if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
            raise ValueError("config names no architecture")
        return cls(
            name=metadata["model"],
            classes=int(metadata["classes"]),
            vocabulary_size=int(metadata["vocabulary_size"]),
            vocabulary_hash=metadata["vocabulary_hash"],
            max_length=int(metadata["max_length"]),
            config=metadata["config"],
        )

    def __str__(self) -> str:
        return (
            f"{self.name} for {self.classes} classes and a vocabulary of {self.vocabulary_size} "
            "tokens"
        )

    def _configuration(self) -> Any:
        from transformers import AutoConfig

        values = json.loads(self.config)
        return AutoConfig.for_model(values.pop("model_type"), **values, num_labels=self.classes)

    def _try(self, model: nn.Module) -> None:
        """Run one example of the greatest length, so that a misfit shows before any training."""
        tokens = torch.zeros(1, self.max_length, dtype=torch.int64)
        inputs = {"input_ids": tokens + self.vocabulary_size - 1}
        inputs["attention_mask"] = torch.ones_like(tokens)
        model.eval()
        try:
            with torch.no_grad():
                features_and_logits(model, inputs)
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            reason = _first_line(error)
            raise ParameterError(
                f"train.model: {self.name} cannot take {self.max_length} tokens ({reason}); "
                "prepare shorter examples (prepare.max_length) or use another model"
            ) from None


def _read_config(name: str) -> Any:
    from transformers import AutoConfig

    place = locate(name, "train.model")
    try:
        with _quiet():
            return AutoConfig.from_pretrained(
                place.name, trust_remote_code=False, local_files_only=place.local_files_only
            )
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(name, error) from None


def _check_vocabulary(name: str, config: Any, meta: TextMeta) -> None:
    """Refuse a model that other token ids would mean something else to."""
    size = getattr(config, "vocab_size", meta.vocabulary_size)
    prepare = "prepare with prepare.tokenizer set to the model, or use a model that goes with it"
    if size < meta.vocabulary_size:
        raise ParameterError(
            f"train.model: {name} knows {size} tokens, the text was prepared with "
            f"{meta.vocabulary_size} of {meta.tokenizer}; {prepare}"
        )
    if (
        name != meta.tokenizer
        and vocabulary_hash(load_tokenizer(name, "train.model")) != meta.vocabulary_hash
    ):
        raise ParameterError(
            f"train.model: the tokenizer of {name} has another vocabulary than {meta.tokenizer}, "
            f"which the text was prepared with; {prepare}"
        )


def _own(values: dict[str, Any]) -> dict[str, Any]:
    """Return what of a configuration makes the architecture."""
    return {key: value for key, value in values.items() if key not in FOREIGN}


def _from_config(config: Any) -> Any:
    """Build a classifier with weights drawn from the global generator."""
    from transformers import AutoModelForSequenceClassification

    try:
        return AutoModelForSequenceClassification.from_config(
            config, trust_remote_code=False, dtype=torch.float32
        )
    except (ImportError, TypeError, ValueError) as error:
        raise ParameterError(
            f"train.model: transformers has no sequence classification for '{config.model_type}' "
            f"({_first_line(error)}); use an encoder such as roberta-base"
        ) from None


def _with_pretrained(drawn: Any, name: str) -> Any:
    """Return a classifier with the body of a checkpoint and the head of ``drawn``."""
    from transformers import AutoModelForSequenceClassification

    place = locate(name, "train.model")
    try:
        network, report = AutoModelForSequenceClassification.from_pretrained(
            place.name,
            local_files_only=place.local_files_only,
            config=drawn.config,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _unloadable(name, error) from None
    body = drawn.base_model_prefix + "."
    mismatched = [key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]]
    absent = sorted(
        key
        for key in [*report["missing_keys"], *mismatched]
        if key.startswith(body) and POOLER not in key.split(".")
    )
    if absent:
        raise ParameterError(
            f"train.model: {name} lacks {len(absent)} pretrained weights, such as {absent[0]}; "
            "use a checkpoint of this architecture"
        )
    head = {key: value for key, value in drawn.state_dict().items() if not key.startswith(body)}
    network.load_state_dict(head, strict=False)
    return network


def _unloadable(name: str, error: Exception) -> ParameterError:
    return ParameterError(
        f"train.model: {name} cannot be loaded ({_first_line(error)}); name a model of the Hugging "
        "Face hub, or a folder with config.json and model.safetensors (where HF_HUB_OFFLINE is "
        "set, one that is in the cache)"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting what is meant to be: a head that is not pretrained."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
