"""The Trainer of transformers, its batches drawn by the losses of training.

    pip install "crest-coresets[transformers]"
    python examples/trainer_by_losses.py
    torchrun --nproc-per-node=2 examples/trainer_by_losses.py

A Trainer, of one's own or this one, gains it by a class before its name. Accumulation, label
smoothing, precision, checkpoints and processes are the Trainer's, as ever.
"""

import argparse
import sys
import tempfile

import torch
from transformers import BertForSequenceClassification, Trainer, TrainingArguments
from transformers_trainer import inputs_of, sentences, tiny_bert

from crest import CrestError
from crest.integrations.transformers import LossSampled


class FocusedTrainer(LossSampled, Trainer):
    """A Trainer that trains less often on what it has learned."""


def main() -> None:
    """Train, and say how well it went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rule", default="focused", help="focused or random")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--folder", help="of checkpoints; without it, none is kept")
    parser.add_argument("--resume", metavar="CHECKPOINT", help="where to go on")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    tokens, labels = sentences(1200, seed=0)
    model = BertForSequenceClassification(tiny_bert())
    data = [
        {name: rows[0] for name, rows in inputs_of(tokens, torch.tensor([index])).items()}
        | {"labels": labels[index]}
        for index in range(len(labels))
    ]
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=arguments.folder or folder,
            max_steps=arguments.steps,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            label_smoothing_factor=0.1,
            learning_rate=3e-3,
            save_strategy="steps" if arguments.folder else "no",
            save_steps=20,
            report_to="none",
            use_cpu=not torch.cuda.is_available(),  # else processes without a GPU are not joined
            disable_tqdm=True,
        )
        trainer = FocusedTrainer(
            model,
            settings,
            train_dataset=data,
            data_collator=padded,
            sampling={"rule": arguments.rule, "groups": labels},
        )
        trainer.train(resume_from_checkpoint=arguments.resume)

    test_tokens, test_labels = sentences(300, seed=1)
    inputs = inputs_of(test_tokens, torch.arange(len(test_labels)))
    model.eval()
    with torch.inference_mode():
        logits = model(**{name: rows.to(model.device) for name, rows in inputs.items()}).logits
    if trainer.is_world_process_zero():
        print(f"accuracy: {(logits.argmax(1).cpu() == test_labels).double().mean():.4f}")


def padded(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Collate sentences of different length; [PAD] is 0."""
    batch = {"labels": torch.stack([row["labels"] for row in rows])}
    for name in ("input_ids", "attention_mask"):
        columns = [row[name] for row in rows]
        batch[name] = torch.nn.utils.rnn.pad_sequence(columns, batch_first=True)
    return batch


if __name__ == "__main__":
    try:
        main()
    except CrestError as error:
        sys.exit(f"error: {error}")
