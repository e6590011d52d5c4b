r"""Examples per second of `random` through the training loop, against the Trainer of transformers.

    pip install --no-deps --target /tmp/rivals accelerate psutil
    python cli.py prepare -S prepare.dataset=snli -S prepare.source=FOLDER \
        -S prepare.tokenizer=MODEL
    python -m benchmarks.speed.trainer --model MODEL --rivals /tmp/rivals --threads 1 \
        --out trainer.json

Both fine-tune the same model on the same mini-batches, in one process, in turns: the same
optimiser, schedule, clipping, precision and length limit, batches padded to their longest. The
Trainer's examples are tokenised and in memory as Python lists, which is what its users have; it
logs, saves and evaluates nothing. Ours records all it always does; saved states and validation are
left out. The first turn of each is for warming up and left out.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.shared import machine
from benchmarks.shared.side_by_side import take_turns
from crest.data.files import TextMeta
from crest.data.prepared import Prepared, Split, load
from crest.devices.generators import generator_for
from crest.devices.precision import Precision, resolve_device, resolve_precision
from crest.methods import METHODS
from crest.methods.random import RandomParameters
from crest.models import spec_for
from crest.parameters.sections import TrainParameters
from crest.samplers.base import Context
from crest.training.loop import train

Advance = Callable[[int], None]


def settings_of(arguments: argparse.Namespace) -> TrainParameters:
    return TrainParameters(
        model=arguments.model,
        batch_size=arguments.batch_size,
        optimizer="adamw",
        lr=5e-5,
        weight_decay=0.01,
        schedule="linear",
        warmup=0.1,
        clip_norm=1.0,
        device="cpu",
    )


def context_of(
    data: Prepared, settings: TrainParameters, steps: int, precision: Precision
) -> Context:
    return Context(
        model=spec_for(settings, data.meta).fresh(seed=0).to(precision.device),
        train=data.train,
        steps=steps,
        batch_size=settings.batch_size,
        precision=precision,
        generator=generator_for(0, "method"),
        parameters=RandomParameters(),
    )


def ours(
    context: Context, settings: TrainParameters, precision: Precision
) -> Callable[[Advance], object]:
    """Return the training with our loop."""

    def work(advance: Advance) -> object:
        method = METHODS["random"].build(context)
        train(
            context.model, method, context.train, None, context.steps, settings, precision, advance
        )
        return None

    return work


def same_minibatches(context: Context) -> list[Tensor]:
    """Return the mini-batches that our loop will train on."""
    method = METHODS["random"].build(replace(context, generator=generator_for(0, "method")))
    return [method.minibatch(step).indices for step in range(context.steps)]


def examples_of(split: Split, order: Tensor) -> list[dict[str, Any]]:
    """Return examples as the lists that a tokenizer gives."""
    examples = []
    for index in order:
        inputs = split.inputs(index[None])
        assert isinstance(inputs, dict)
        example: dict[str, Any] = {name: values[0].tolist() for name, values in inputs.items()}
        examples.append(example | {"labels": int(split.labels[index])})
    return examples


def theirs(
    network: torch.nn.Module,
    tokenizer: str,
    examples: list[dict[str, Any]],
    settings: TrainParameters,
    steps: int,
    precision: Precision,
) -> Callable[[Advance], object]:
    """Return the training with the Trainer."""
    from torch.utils.data import SequentialSampler
    from transformers import (
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    class Progress(TrainerCallback):
        def __init__(self, advance: Advance) -> None:
            self._advance = advance

        def on_step_end(self, args, state, control, **others):  # type: ignore[no-untyped-def]
            self._advance(state.global_step)

    class InOrder(Trainer):
        def _get_train_sampler(self, dataset=None):  # type: ignore[no-untyped-def]
            return SequentialSampler(examples)

    def work(advance: Advance) -> object:
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=settings.batch_size,
                learning_rate=settings.lr,
                weight_decay=settings.weight_decay,
                warmup_steps=round(settings.warmup * steps),
                lr_scheduler_type="linear",
                max_grad_norm=settings.clip_norm or 0.0,
                bf16=precision.name == "bf16",
                use_cpu=precision.device.type == "cpu",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            trainer = InOrder(
                model=network,
                args=arguments,
                train_dataset=examples,
                data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(tokenizer)),
                callbacks=[Progress(advance)],
            )
            trainer.train()
            return type(trainer.optimizer).__name__

    return work


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    device = resolve_device(arguments.device)
    precision = resolve_precision(arguments.precision, device)
    settings = settings_of(arguments).model_copy(update={"device": arguments.device})
    data = load(arguments.data, device)
    if not isinstance(data.meta, TextMeta):
        raise SystemExit(f"{arguments.data}: holds images; prepare text first")
    steps = (arguments.turns + 1) * arguments.block
    context = context_of(data, settings, steps, precision)
    network = spec_for(settings, data.meta).fresh(seed=0).get_submodule("network").to(device)
    examples = examples_of(data.train, torch.cat(same_minibatches(context)))
    works = {
        "ours": ours(context, settings, precision),
        "trainer": theirs(network, data.meta.tokenizer, examples, settings, steps, precision),
    }
    runners = take_turns(works, arguments.block)
    # The first turn warms up, and the last is what comes after the last step.
    turns = {name: runner.turns[1:-1] for name, runner in runners.items()}
    ratios = [theirs / ours for ours, theirs in zip(*turns.values(), strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    per_turn = arguments.block * arguments.batch_size
    return {
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "precision": precision.name,
        "max_length": data.meta.max_length,
        "examples_per_second": {
            name: statistics.median(per_turn / seconds for seconds in seconds_of)
            for name, seconds_of in turns.items()
        },
        "ratio": middle,
        "ratio_quartiles": [low, high],
        "ratio_of_totals": sum(turns["trainer"]) / sum(turns["ours"]),
        "turns": turns,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/prepared"))
    parser.add_argument("--model", required=True, help="name or folder of a model of transformers")
    parser.add_argument("--rivals", type=Path, help="where accelerate is installed")
    parser.add_argument("--precision", choices=("auto", "bf16", "float32"), default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--block", type=int, default=5, help="steps before it is the other's turn")
    parser.add_argument("--turns", type=int, default=20, help="turns of each that count")
    parser.add_argument("--threads", type=int, help="of torch; default: what torch takes")
    parser.add_argument("--out", type=Path, help="where to write everything as JSON")
    arguments = parser.parse_args()
    if arguments.rivals is not None:
        sys.path.append(str(arguments.rivals))
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    found = measure(arguments)
    for name, rate in found["examples_per_second"].items():
        print(f"{name:8} {rate:8.1f} examples/s")
    low, high = found["ratio_quartiles"]
    print(
        f"ours ÷ trainer: {found['ratio']:.3f} (quartiles {low:.3f} to {high:.3f}; of all turns "
        f"together {found['ratio_of_totals']:.3f})"
    )
    if arguments.out is not None:
        record = {"machine": machine.describe(), "summary": found}
        arguments.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
