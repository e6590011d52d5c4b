"""CREST in the Trainer of transformers: a tiny BERT learns what a sentence is about.

    pip install transformers accelerate    # the Trainer needs both
    python examples/transformers_trainer.py

The Trainer keeps its optimiser, schedule, clipping, precision and logging, and is not subclassed:
its mini-batches come from Coresets, a callback reports the steps, and the loss is weighted. A
mini-batch is a step: leave gradient_accumulation_steps at 1. The sentences are made here and
nothing is downloaded.
"""

import argparse
import importlib.util
import random
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from crest import Coresets, CrestError

try:
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )
except ModuleNotFoundError:
    sys.exit("error: the Trainer is of transformers: pip install transformers accelerate")

TOPICS = {
    "weather": ["rain", "wind", "snow", "cloud", "storm", "sun"],
    "kitchen": ["bread", "salt", "soup", "knife", "oven", "pan"],
    "harbour": ["ship", "rope", "sail", "anchor", "crane", "gull"],
}
OTHERS = ["a", "the", "there", "was", "is", "much", "near", "and", "no", "some", "old", "very"]
WORDS = ["[PAD]", *OTHERS, *(word for words in TOPICS.values() for word in words)]


def sentences(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return token numbers, padded with 0, and topics: one or two words of a sentence tell it."""
    draw = random.Random(seed)
    rows, labels = [], []
    for _ in range(count):
        label = draw.randrange(len(TOPICS))
        words = draw.choices(OTHERS, k=draw.randint(4, 10))
        words += draw.choices(list(TOPICS.values())[label], k=draw.randint(1, 2))
        draw.shuffle(words)
        rows.append(torch.tensor([WORDS.index(word) for word in words]))
        labels.append(label)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor(labels)


def inputs_of(tokens: Tensor, indices: Tensor) -> dict[str, Tensor]:
    """Return what the model takes, no longer than the longest of these sentences."""
    rows = tokens[indices]
    rows = rows[:, : int((rows > 0).sum(1).max())]
    return {"input_ids": rows, "attention_mask": (rows > 0).long()}


def tiny_bert() -> BertConfig:
    """Return what the model is like."""
    return BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=len(TOPICS),
    )


class StepTaken(TrainerCallback):
    """Reports the optimiser's steps."""

    def __init__(self, coresets: Coresets) -> None:
        self._coresets = coresets

    def on_optimizer_step(self, *arguments: Any, **others: Any) -> None:
        """Report a step, while its gradients are still there."""
        self._coresets.step()


def weighted_loss(outputs: Any, targets: tuple[Tensor, Tensor], **others: Any) -> Tensor:
    """Return the weighted mean loss; the weights travel beside the labels."""
    labels, weights = targets
    return (F.cross_entropy(outputs.logits, labels, reduction="none") * weights).mean()


def main() -> None:
    """Train, say how well it went, and keep what was chosen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--method", default="crest", help="crest or random")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--save", metavar="FOLDER", help="where to keep what was chosen")
    arguments = parser.parse_args()
    if importlib.util.find_spec("accelerate") is None:
        sys.exit("error: the Trainer of transformers needs accelerate: pip install accelerate")

    torch.manual_seed(0)
    tokens, labels = sentences(1200, seed=0)
    model = BertForSequenceClassification(tiny_bert())
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            max_steps=arguments.steps,
            learning_rate=3e-3,
            save_strategy="no",
            report_to="none",
            logging_nan_inf_filter=False,  # by default a loss that is NaN is logged as 0
            disable_tqdm=True,
        )
        trainer = Trainer(model, settings, compute_loss_func=weighted_loss)
        # After the Trainer, which moves the model to its device.
        coresets = Coresets(
            model,
            lambda indices: inputs_of(tokens, indices),
            labels,
            steps=arguments.steps,
            batch_size=16,
            method=arguments.method,
            # By the method's name, so that another may be chosen; as the paper for RoBERTa.
            crest={"subset_size": 64, "quadratic": "last_layer"},
        )

        def minibatches() -> Iterator[dict[str, Any]]:
            for indices, weights in coresets:
                yield inputs_of(tokens, indices) | {"labels": (labels[indices], weights)}

        # Not a DataLoader: accelerate would ask for the next mini-batch before the step is taken.
        trainer.get_train_dataloader = minibatches
        trainer.add_callback(StepTaken(coresets))
        trainer.train()

    test_tokens, test_labels = sentences(300, seed=1)
    inputs = inputs_of(test_tokens, torch.arange(len(test_labels)))
    model.eval()
    with torch.inference_mode():
        logits = model(**{name: rows.to(model.device) for name, rows in inputs.items()}).logits
    print(f"accuracy: {(logits.argmax(1).cpu() == test_labels).double().mean():.4f}")
    if arguments.save:
        try:
            coresets.save(arguments.save)
        except CrestError as error:  # random, for one, keeps none
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
