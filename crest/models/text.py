"""Sequence classifiers of transformers: pretrained weights, a fresh head of the right size."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crest.data.files import Meta, TextMeta
from crest.data.pairs import pair_features
from crest.data.vocabulary import load_tokenizer, vocabulary_hash
from crest.devices.generators import torch_seed
from crest.errors import ParameterError, needs_extra
from crest.files.checkpoint_files import check_description, check_folder, require_memory
from crest.files.hub import Place, locate
from crest.models.head import features_and_logits
from crest.parameters.sections import TrainParameters

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
NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")  # of a layer, in the name of a weight


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
        config: Any = getattr(network, "config", None)
        kind, summary = (getattr(config, name, None) for name in ("model_type", "summary_type"))
        # It takes the last place for the last token, whatever the mask says.
        self._pads_left = kind == "xlnet" and summary == "last"

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the logits, B×C; token types are left out where the network knows none."""
        known = {name: value for name, value in inputs.items() if name in self._known}
        if self._pads_left:
            known = _padded_left(known, inputs["attention_mask"])
        try:
            logits: Tensor = self.network(**known).logits
        except ValueError as error:
            if "<eos>" not in str(error):
                raise
            raise ParameterError(
                f"train.model: {self.network._get_name()} reads its logits at the token of a text's"
                f" end, and the text was prepared without or with several ({first_line(error)}); "
                "prepare with prepare.tokenizer set to the model"
            ) from None
        return logits

    def sentence_embeddings(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return what the body makes of k texts, float32 k×d; of pairs k×4d.

        The mean of the last hidden states over a text's tokens. Of a pair that token types tell
        apart each text is read alone, after the token that begins the pair, and both together are
        :func:`~crest.data.pairs.pair_features` (Reimers and Gurevych, *Sentence-BERT*,
        EMNLP-IJCNLP 2019). Of a network whose hidden states are not one a token, the last layer's
        inputs.
        """
        real, kinds = inputs["attention_mask"].bool(), inputs.get("token_type_ids")
        if kinds is None or not bool(kinds.any()):
            return self._mean_of_tokens(inputs)
        second = real & (kinds == 1)
        begins = torch.zeros_like(second)
        begins[:, 0] = True
        tokens = inputs["input_ids"]
        return pair_features(
            *(
                self._mean_of_tokens(_alone(tokens, some))
                for some in (real & ~second, begins | second)
            )
        )

    def _mean_of_tokens(self, inputs: Mapping[str, Tensor]) -> Tensor:
        known = {name: value for name, value in inputs.items() if name in self._known}
        states = _last_states(self.network(**known, output_hidden_states=True))
        mask = inputs["attention_mask"]
        if states is None or states.shape[:2] != mask.shape:
            return features_and_logits(self, inputs)[0].float()
        real = mask[:, :, None].float()
        return (states.float() * real).sum(1) / real.sum(1)


def _alone(tokens: Tensor, kept: Tensor) -> dict[str, Tensor]:
    """Return inputs of the kept tokens of each row, moved to its beginning; both are k×L."""
    places = (~kept).int().argsort(dim=1, stable=True)[:, : int(kept.sum(1).max())]
    return {
        "input_ids": tokens.gather(1, places),
        "attention_mask": kept.gather(1, places).long(),
    }


def _last_states(output: Any) -> Tensor | None:
    """Return the last hidden states, k×L×d, of an encoder or decoder; None where there are none."""
    for name in ("decoder_hidden_states", "hidden_states"):
        states = getattr(output, name, None)
        if states:
            return states[-1]
    return None


def _padded_left(inputs: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
    """Move the padding of a batch from the right, where ``mask`` is 0, to the left."""
    length = mask.shape[1]
    places = torch.arange(length, device=mask.device) + mask.sum(1, keepdim=True)
    return {name: value.gather(1, places % length) for name, value in inputs.items()}


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

    @property
    def weights(self) -> None:
        """What it starts from stands in its name."""

    @property
    def preprocessing(self) -> None:
        """Text is no image."""

    @classmethod
    def for_data(cls, settings: TrainParameters, meta: Meta) -> "TextModelSpec":
        """Return the spec of train.model for prepared text.

        Raises
        ------
        ParameterError
            If there is no such model, or its tokenizer is not the one the text was prepared with.
        """
        assert isinstance(meta, TextMeta)
        if settings.weights not in (None, "pretrained"):
            raise ParameterError(
                f"train.weights: {settings.weights}: the prepared data are text, whose models have "
                "their weights with them; name a model or its folder as train.model, and leave it "
                "null"
            )
        config = _read_config(settings.model)
        _check_vocabulary(settings.model, config, meta)
        _check_token_types(settings.model, config, meta)
        _pad_as(config, meta.pad_token_id)
        return cls(
            name=settings.model,
            classes=len(meta.classes),
            vocabulary_size=meta.vocabulary_size,
            vocabulary_hash=meta.vocabulary_hash,
            max_length=meta.max_length,
            config=json.dumps(own_configuration(config.to_dict()), sort_keys=True),
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
        with torch.random.fork_rng(devices=[]), quiet():
            torch.default_generator.manual_seed(torch_seed(seed))
            drawn = self._build()
            network = _with_pretrained(drawn, self.name)
        model = TextClassifier(network)
        self._try(model)
        return model.train()

    def empty(self) -> nn.Module:
        """Return the model with weights of no meaning, for a file's to be copied into."""
        with torch.random.fork_rng(devices=[]), quiet():
            model = TextClassifier(self._build())
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

    def _build(self) -> Any:
        """Build the classifier with weights drawn from the global generator."""
        config = self._configuration()
        generator = torch.get_rng_state()
        require_memory(_bytes_of(config), self.name)
        torch.set_rng_state(generator)
        return _from_config(config, self.name)

    def _configuration(self) -> Any:
        with needs_extra("text"):
            from transformers import AutoConfig

        values = json.loads(self.config)
        check_description(values, self.name)
        kind = values.pop("model_type")
        try:
            return AutoConfig.for_model(kind, **values, num_labels=self.classes)
        # What a configuration raises for odd values is of every kind.
        except Exception as error:
            raise _unbuildable(self.name, kind, error) from None

    def _try(self, model: nn.Module) -> None:
        """Run one example of the greatest length, so that a misfit shows before any training."""
        tokens = torch.full((1, self.max_length), self.vocabulary_size - 1)
        network: Any = model.network
        end = getattr(_of_text(network.config), "eos_token_id", None)
        if isinstance(end, int) and 0 <= end < self.vocabulary_size:
            tokens[:, -1] = end  # which some read their logits at, and will not do without
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        inputs["token_type_ids"] = torch.zeros_like(tokens)
        model.eval()
        try:
            with torch.no_grad():
                features_and_logits(model, inputs)
        except ParameterError:
            raise
        # What a model raises for what it was not made for is of every kind.
        except Exception as error:
            raise ParameterError(
                f"train.model: {self.name} cannot take {self.max_length} tokens "
                f"({first_line(error)}); "
                "prepare shorter examples (prepare.max_length) or use another model"
            ) from None


def _read_config(name: str) -> Any:
    with needs_extra("text"):
        from transformers import AutoConfig

    place = locate(name, "train.model")
    if place.is_folder:
        check_folder(Path(place.name))
    try:
        with quiet():
            if not place.is_folder:
                check_description(_description(place), name)
            return AutoConfig.from_pretrained(
                place.name, trust_remote_code=False, local_files_only=place.local_files_only
            )
    except ParameterError:
        raise
    # What transformers raises for odd values is of every kind.
    except Exception as error:
        raise _unloadable(name, error) from None


def _description(place: Place) -> dict[str, Any]:
    """Return the description of a model of the hub, as it stands in its config.json."""
    with needs_extra("text"):
        from transformers import PretrainedConfig

    values, _ = PretrainedConfig.get_config_dict(
        place.name, local_files_only=place.local_files_only
    )
    return dict(values)


def _pad_as(config: Any, pad_token_id: int) -> None:
    """Let the model know what texts are padded with: a decoder's logits are of the token before.

    Many decoders have no padding of their own.
    """
    for part in (config, _of_text(config)):
        if getattr(part, "pad_token_id", None) != pad_token_id:
            part.pad_token_id = pad_token_id


def _of_text(config: Any) -> Any:
    """Return the part of a configuration that is of text, the whole where it has none."""
    with needs_extra("text"):
        from transformers import PretrainedConfig

    part = config.get_text_config()
    return part if isinstance(part, PretrainedConfig) else config  # anything can stand there


def _bytes_of(config: Any) -> int:
    """Return the bytes of a classifier's weights and buffers in float32, built without any.

    0 for one that cannot be built so; what is wrong shows when it is built.
    """
    with needs_extra("text"):
        from transformers import AutoModelForSequenceClassification

    try:
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(
                config, trust_remote_code=False, dtype=torch.float32
            )
    except Exception:
        return 0
    return sum(4 * tensor.numel() for tensor in [*model.parameters(), *model.buffers()])


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


def _check_token_types(name: str, config: Any, meta: TextMeta) -> None:
    """Refuse a model that does not tell the first text of a pair from the second as the data do."""
    kinds = getattr(config, "type_vocab_size", None)
    if kinds == 1 and meta.token_types and len(meta.text_columns) == 2:
        raise ParameterError(
            f"train.model: {name} knows one type of tokens, and the text was prepared with one for "
            f"each of its two columns, as {meta.tokenizer} has them; prepare with "
            "prepare.tokenizer set to the model, or use a model that goes with it"
        )


def own_configuration(values: dict[str, Any]) -> dict[str, Any]:
    """Return what of a configuration makes the architecture."""
    return {key: value for key, value in values.items() if key not in FOREIGN}


def _from_config(config: Any, name: str) -> Any:
    """Build a classifier with weights drawn from the global generator."""
    with needs_extra("text"):
        from transformers import AutoModelForSequenceClassification

    try:
        return AutoModelForSequenceClassification.from_config(
            config, trust_remote_code=False, dtype=torch.float32
        )
    # What a model raises for an odd configuration is of every kind.
    except Exception as error:
        raise _unbuildable(name, config.model_type, error) from None


def _unbuildable(name: str, kind: str, error: Exception) -> ParameterError:
    reason = first_line(error)
    if reason.startswith("Unrecognized configuration class"):
        return ParameterError(
            f"train.model: transformers has no sequence classification for '{kind}' ({reason}); "
            "use an encoder such as roberta-base"
        )
    return ParameterError(
        f"train.model: {name} cannot be built as its config.json says, a '{kind}' "
        f"({type(error).__name__}: {reason}); correct it, or use another model"
    )


def _with_pretrained(drawn: Any, name: str) -> Any:
    """Return a classifier with the body of a checkpoint and the head of ``drawn``."""
    with needs_extra("text"):
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
    # What transformers raises for files that do not fit is of every kind.
    except Exception as error:
        raise _unloadable(name, error) from None
    body = drawn.base_model_prefix + "."
    mismatched = [key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]]
    for found, what in (
        (report["missing_keys"], "lacks {} pretrained weights, such as {}"),
        (
            mismatched,
            "has {} pretrained weights of other shapes than its config.json says, such as {}",
        ),
    ):
        odd = sorted(key for key in found if key.startswith(body) and POOLER not in key.split("."))
        if odd:
            raise ParameterError(
                f"train.model: {name} {what.format(len(odd), odd[0])}; use a checkpoint of this "
                "architecture"
            )
    if more := _of_more_layers(report["unexpected_keys"], network, body):
        raise ParameterError(
            f"train.model: {name} holds {len(more)} weights of layers that its config.json does "
            f"not have, such as {more[0]}; correct its numbers of layers"
        )
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ParameterError(
                f"train.model: {name}: its weight {key} is not all finite numbers; use a "
                "checkpoint of a training that did not diverge"
            )
    head = {key: value for key, value in drawn.state_dict().items() if not key.startswith(body)}
    network.load_state_dict(head, strict=False)
    return network


def _of_more_layers(unexpected: Iterable[str], network: nn.Module, body: str) -> list[str]:
    """Return weights of a checkpoint that differ from the model's in the number of a layer only."""

    def pattern(key: str) -> str:
        return NUMBER.sub("#", key.removeprefix(body))

    known = {pattern(key) for key in network.state_dict() if NUMBER.search(key)}
    return sorted(key for key in unexpected if pattern(key) in known)


def _unloadable(name: str, error: Exception) -> ParameterError:
    return ParameterError(
        f"train.model: {name} cannot be loaded ({first_line(error)}); name a model of the Hugging "
        "Face hub, or a folder with config.json and model.safetensors (where HF_HUB_OFFLINE is "
        "set, one that is in the cache)"
    )


def first_line(error: Exception) -> str:
    """Return what an error says first; a message of several lines begins with its title."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    first = " ".join(lines[:2]) if lines and lines[0].endswith(":") else "".join(lines[:1])
    return first[:300].rstrip(".") or type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from reporting what is meant to be: a head that is not pretrained."""
    with needs_extra("text"):
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
