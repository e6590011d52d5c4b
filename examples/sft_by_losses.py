"""TRL's SFTTrainer, its batches drawn by the losses of each row's own tokens.

    pip install "crest-coresets[trl]"
    python examples/sft_by_losses.py

A tiny language model learns to count; nothing is downloaded. One row has nothing left to train on
when it is cut to the longest length: TRL drops it, and the trainer says which it was.
"""

import argparse
import sys
import tempfile

import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from crest import CrestError

try:
    from datasets import Dataset
    from trl import SFTConfig

    from crest.integrations.trl import LossSampledSFT
except ModuleNotFoundError as error:
    sys.exit(f'error: {error.name} is not installed: pip install "crest-coresets[trl]"')

NUMBERS, LONGEST = 40, 12


def counting(rows: int) -> Dataset:
    """Return rows that count up by one or by two; row 7's labels lie behind the cut."""
    tokens = [[3 + (i + (1 + i % 2) * k) % NUMBERS for k in range(6 + i % 7)] for i in range(rows)]
    labels = [list(row) for row in tokens]
    tokens[7] = [3] * (LONGEST + 4)
    labels[7] = [-100] * LONGEST + [3] * 4
    return Dataset.from_dict({"input_ids": tokens, "labels": labels})


def tokenizer() -> PreTrainedTokenizerFast:
    """Return one whose words are numbers."""
    words = ["<pad>", "<eos>", "<unk>", *map(str, range(NUMBERS))]
    vocabulary = {word: place for place, word in enumerate(words)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")),
        **{"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"},
    )


def main() -> None:
    """Train, and say how the loss fell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rule", default="focused", help="focused or random")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--packing", action="store_true")
    parser.add_argument("--folder", help="of checkpoints; without it, none is kept")
    parser.add_argument("--resume", metavar="CHECKPOINT", help="where to go on")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=NUMBERS + 3,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            output_dir=arguments.folder or folder,
            max_steps=arguments.steps,
            max_length=LONGEST,
            packing=arguments.packing,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            learning_rate=1e-2,
            save_strategy="steps" if arguments.folder else "no",
            save_steps=10,
            report_to="none",
            disable_tqdm=True,
            bf16=False,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = LossSampledSFT(
            LlamaForCausalLM(config),
            settings,
            train_dataset=counting(200),
            eval_dataset=counting(60),
            processing_class=tokenizer(),
            sampling={"rule": arguments.rule},
        )
        print(f"rows dropped: {trainer.dropped}")
        if settings.world_size == 1:  # several processes must not evaluate before they train
            print(f"loss: {trainer.evaluate()['eval_loss']:.4f}")
        trainer.train(resume_from_checkpoint=arguments.resume)
        print(f"loss: {trainer.evaluate()['eval_loss']:.4f}")


if __name__ == "__main__":
    try:
        main()
    except CrestError as error:
        sys.exit(f"error: {error}")
