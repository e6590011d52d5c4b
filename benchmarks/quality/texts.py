"""SNLI's sentences for the benchmark of tasks: as words, as vectors, and as rows of tokens.

Models that were trained before are read from folders in transformers' format, or with one GGUF
file; what they compute and training does not change is computed once.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

PARQUET = "train-00000-of-00001.parquet"
IGNORED = -100
VOCABULARY = 4096
AT_ONCE = 64  # rows of a forward pass


def pairs(folder: Path, count: int) -> tuple[list[str], list[str], Tensor]:
    """Return the first labelled pairs of SNLI, and their labels."""
    table = pl.read_parquet(folder / PARQUET).filter(pl.col("label") >= 0).head(count)
    labels = torch.tensor(table["label"].to_list(), dtype=torch.int64)
    return table["premise"].to_list(), table["hypothesis"].to_list(), labels


def captions(folder: Path, count: int) -> list[str]:
    """Return the first premises of SNLI, each once."""
    table = pl.read_parquet(folder / PARQUET, columns=["premise"])
    return table["premise"].unique(maintain_order=True).head(count).to_list()


def hashed_words(folder: Path, count: int, length: int) -> tuple[Tensor, Tensor]:
    """Return SNLI's pairs as hashed words, n×2×length (0 where there is none), and labels."""
    *texts, labels = pairs(folder, count)
    words = torch.zeros(len(labels), 2, length, dtype=torch.long)
    for column, sentences in enumerate(texts):
        for row, sentence in enumerate(sentences):
            numbers = [_hashed(word) for word in sentence.lower().split()[:length]]
            words[row, column, : len(numbers)] = torch.tensor(numbers)
    return words, labels


def _hashed(word: str) -> int:
    value = 0
    for letter in word.strip(".,!?'\""):
        value = (value * 131 + ord(letter)) % 1_000_003
    return 1 + value % (VOCABULARY - 1)


class Bag(nn.Module):
    """Mean of word vectors of each sentence, then as :class:`Head`."""

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.head = Head(width, classes)

    def forward(self, words: Tensor) -> Tensor:
        """Return logits, B×classes, for B×2×T words."""
        vectors = self.words(words).sum(2) / (words > 0).sum(2, keepdim=True).clamp(1)
        return self.head(vectors)


class Head(nn.Module):
    """Both vectors of a pair, their distance and product, through a hidden layer."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4 * width, 128), nn.ReLU(), nn.Linear(128, classes))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return logits, B×classes, for B×2×width vectors."""
        one, two = vectors.unbind(1)
        return self.layers(torch.cat([one, two, (one - two).abs(), one * two], 1))


@torch.no_grad()
def sentence_vectors(folder: Path, count: int, model: Path) -> tuple[Tensor, Tensor]:
    """Return SNLI's pairs as vectors of a frozen encoder, n×2×width, and their labels.

    A vector is the mean over tokens; its components have a variance of about 1.
    """
    tokenizer, encoder = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model)
    *texts, labels = pairs(folder, count)
    places: dict[str, int] = {}
    for sentence in [*texts[0], *texts[1]]:
        places.setdefault(sentence, len(places))
    # By length, so that little is padded.
    order = sorted(places, key=len)
    vectors = torch.empty(len(order), encoder.config.hidden_size)
    for start in range(0, len(order), AT_ONCE):
        some = order[start : start + AT_ONCE]
        tokens = tokenizer(some, padding=True, truncation=True, return_tensors="pt")
        hidden = encoder(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(2)
        found = (hidden * mask).sum(1) / mask.sum(1)
        vectors[[places[sentence] for sentence in some]] = found / found.std()
    rows = torch.tensor([[places[sentence] for sentence in column] for column in texts])
    return vectors[rows.T], labels


@dataclass(frozen=True)
class Rows:
    """Rows of tokens for a model of which only the last layers are trained.

    Attributes
    ----------
    hidden
        float16, n×T×width: what goes into those layers; zeros where there is no token.
    following
        int64, n×T: the next token, IGNORED where there is none.
    tail
        The layers, and the output layer.
    """

    hidden: Tensor
    following: Tensor
    tail: "Tail"


class Tail(nn.Module):
    """The last layers of a causal language model, and its output layer, which is not trained.

    Only tokens that occur are told apart, ``kept`` (k): logits are B×T×k.
    """

    output: Tensor

    def __init__(self, body: nn.Module, output: Tensor) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("output", output)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the logits of the next token, B×T×k; in training T is that of the longest row."""
        length = int((hidden != 0).any(2).sum(1).max()) if self.training else hidden.shape[1]
        found = self.body(inputs_embeds=hidden[:, :length].float(), use_cache=False)
        return F.linear(found.last_hidden_state, self.output)

    def copied(self) -> "Tail":
        """Return one of its own weights, to be trained."""
        return copy.deepcopy(self)


@torch.no_grad()
def token_rows(
    texts: list[str], model: Path, trained_layers: int, length: int, packed: bool
) -> Rows:
    """Return texts as rows of tokens, each a text's, or packed: texts one after another.

    ``model`` is one of Llama's architecture; a text begins with the token that ends another.
    """
    gguf = next((path.name for path in model.glob("*.gguf")), None)
    tokenizer = AutoTokenizer.from_pretrained(model, gguf_file=gguf)
    whole = AutoModelForCausalLM.from_pretrained(model, gguf_file=gguf, dtype=torch.float32)
    end = tokenizer.eos_token_id
    numbers = [[end, *tokenizer(text)["input_ids"]] for text in texts]
    tokens = _packed(numbers, length) if packed else _padded(numbers, length)
    kept, places = tokens[tokens != IGNORED].unique(return_inverse=True)
    following = torch.full_like(tokens, IGNORED)
    following[tokens != IGNORED] = places
    following = torch.cat([following[:, 1:], torch.full((len(tokens), 1), IGNORED)], 1)
    output = whole.get_output_embeddings().weight[kept].clone()
    head, tail = whole.model, copy.deepcopy(whole.model)
    tail.layers, head.layers = tail.layers[-trained_layers:], head.layers[:-trained_layers]
    for place, layer in enumerate(tail.layers):
        layer.self_attn.layer_idx = place
    head.norm, tail.embed_tokens = nn.Identity(), nn.Identity()
    hidden = [
        head(input_ids=some.clamp(0), use_cache=False).last_hidden_state.half()
        for some in tokens.split(AT_ONCE)
    ]
    there = (tokens != IGNORED).unsqueeze(2)
    return Rows(torch.cat(hidden) * there, following, Tail(tail, output))


def _padded(numbers: list[list[int]], length: int) -> Tensor:
    rows = torch.full((len(numbers), length), IGNORED)
    for row, some in zip(rows, numbers, strict=True):
        row[: len(some)] = torch.tensor(some[:length])
    return rows


def _packed(numbers: list[list[int]], length: int) -> Tensor:
    stream = torch.tensor([number for some in numbers for number in some])
    return stream[: len(stream) // length * length].view(-1, length)


def next_token(outputs: Tensor, following: Tensor) -> Tensor:
    """Return each row's mean loss over its own tokens."""
    losses, there = _token_losses(outputs, following)
    return losses.sum(1) / there.sum(1)


def mean_over_tokens(outputs: Tensor, following: Tensor) -> Tensor:
    """Return the mean loss over all tokens."""
    losses, there = _token_losses(outputs, following)
    return losses.sum() / there.sum()


def _token_losses(outputs: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    following = following[:, : outputs.shape[1]]
    losses = F.cross_entropy(
        outputs.transpose(1, 2), following, reduction="none", ignore_index=IGNORED
    )
    return losses, following != IGNORED
