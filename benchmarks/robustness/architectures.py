"""Train a few steps of every classifier of torchvision and of transformers, tiny, with crest.

    python -m benchmarks.robustness.architectures [--only NAME] [--source text,image,torchvision]
        [--options default,economical] [--json OUT]

For each architecture it says whether a loop of four steps ended well, was refused in words, or
ended in a traceback of ours; a model that cannot be built tiny, or fails by itself in training, is
left out and counted. Most of the time is torchvision's large models'; whole, about half an hour
on a core.
"""

import argparse
import inspect
import json
import logging
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest import Coresets, CrestError, economical

CLASSES, EXAMPLES, STEPS, BATCH = 4, 24, 4, 4
VOCABULARY, LENGTH = 64, 12
LARGEST = 30_000_000  # weights of a model that is tried
OPTIONS: dict[str, dict[str, Any]] = {"default": {}, "economical": dict(economical(BATCH))}
# What makes a configuration small, where it has a number of that name.
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "d_model": 32,
    "n_embd": 32,
    "dim": 32,
    "emb_dim": 32,
    "embed_dim": 32,
    "embedding_size": 32,
    "hidden_dim": 32,
    "intermediate_size": 64,
    "ffn_dim": 64,
    "d_ff": 64,
    "d_inner": 64,
    "n_inner": 64,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "num_hidden_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "num_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_decoder_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "n_head": 4,
    "n_heads": 4,
    "num_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "head_dim": 8,
    "d_kv": 8,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "image_size": 32,
    "patch_size": 8,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
    "eos_token_id": 2,
    "bos_token_id": 1,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="part of a name")
    parser.add_argument("--source", default="text,image,torchvision")
    parser.add_argument("--options", default="default,economical")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = []
    for source in arguments.source.split(","):
        for name, make, inputs in SOURCES[source]():
            if arguments.only and arguments.only not in name:
                continue
            row = attempt(source, name, make, inputs, arguments.options.split(","))
            rows.append(row)
            print(" | ".join(str(cell) for cell in row.values()), flush=True)
    for source in arguments.source.split(","):
        for option in arguments.options.split(","):
            ends = Counter(row[option][0] for row in rows if row["source"] == source)
            print(source, option, dict(ends))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def attempt(
    source: str,
    name: str,
    make: Callable[[], nn.Module],
    inputs: Callable[[Tensor], Any],
    options: list[str],
) -> dict[str, Any]:
    """Train with each of the options; how each ended."""
    row: dict[str, Any] = {"source": source, "name": name}
    try:
        with torch.device("meta"):
            weights = sum(weight.numel() for weight in make().parameters())
    except Exception:
        weights = 0  # what is wrong shows when it is built
    if weights > LARGEST:
        return row | dict.fromkeys(options, ("left out", f"{weights / 1e6:.0f} million weights"))
    try:
        torch.manual_seed(0)
        loop(make(), inputs, method="random")
    except CrestError as error:
        return row | dict.fromkeys(options, ("refused", str(error)))
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        return row | dict.fromkeys(options, ("left out", reason[:200]))
    for option in options:
        torch.manual_seed(0)
        try:
            used = loop(make(), inputs, **OPTIONS[option])
            row[option] = ("fell back" if used else "trained", "")
        except CrestError as error:
            row[option] = ("refused", str(error))
        except Exception as error:
            where = [
                f"{Path(frame.filename).name}:{frame.lineno}"
                for frame in traceback.extract_tb(error.__traceback__)
                if "/crest/" in frame.filename
            ]
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            row[option] = ("traceback", f"{reason[:200]} at {where[-1:]}")
    return row


def loop(model: nn.Module, inputs: Callable[[Tensor], Any], **options: Any) -> dict[str, str]:
    """Train a few steps; returns what was used other than asked for."""
    labels = torch.arange(EXAMPLES) % CLASSES
    if "method" not in options:
        options = {"subset_size": 8, **options}
    coresets = Coresets(model, inputs, labels, steps=STEPS, batch_size=BATCH, **options)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3)
    model.train()
    for indices, weights in coresets:
        batch = inputs(indices)
        output = model(**batch) if isinstance(batch, dict) else model(batch)
        logits = getattr(output, "logits", output)
        losses = F.cross_entropy(logits.float(), labels[indices], reduction="none")
        optimizer.zero_grad()
        (losses * weights).mean().backward()
        optimizer.step()
        coresets.step(logits)
    return coresets._method.record().used or {}


def of_torchvision() -> Iterator[tuple[str, Callable[[], nn.Module], Callable[[Tensor], Any]]]:
    """Every classifier of torchvision, at 64 pixels where it can take them."""
    from crest.models import build, torchvision_models

    for name in torchvision_models.names():
        size = 96 if name == "inception_v3" else 64
        if name.startswith(("swin", "maxvit")):
            size = 64
        images = torch.randn(EXAMPLES, 3, size, size, generator=torch.Generator().manual_seed(0))

        def make(name: str = name, size: int = size) -> nn.Module:
            shape = (size, size, 3)
            return build(name, classes=CLASSES, image_shape=shape, stem="cifar", seed=0)

        yield name, make, images.__getitem__


def _configurations(mapping: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every architecture of an auto class: its name, configuration and class."""
    for config_class in mapping:
        classes = mapping[config_class]
        for found in classes if isinstance(classes, tuple) else (classes,):
            yield found.__name__, config_class, found


def _small(config_class: Any) -> Any:
    """Return a configuration with few and narrow layers."""
    config = config_class(**_changes(config_class()))
    shrink(config)
    config.num_labels = CLASSES
    return config


def _changes(config: Any) -> dict[str, Any]:
    """Return what makes a configuration small, of the values that it was built from."""
    changes = {name: value for name, value in SMALL.items() if type(value) is type_of(config, name)}
    depths = getattr(config, "depths", None)
    return changes | ({"depths": [1] * len(depths)} if isinstance(depths, list | tuple) else {})


def type_of(config: Any, name: str) -> type | None:
    """Return the type of a value of a configuration; None where there is no such value."""
    value = getattr(config, name, None)
    return None if value is None else type(value)


def shrink(config: Any) -> None:
    """Make a configuration and those within it small, in place."""
    for name, value in SMALL.items():
        known = name.endswith("token_id") and hasattr(config, name)
        if known or isinstance(getattr(config, name, None), int):
            try:
                setattr(config, name, value)
            # A property that cannot be set, or a value that this configuration refuses: it stays.
            except (AttributeError, NotImplementedError, ValueError, TypeError):
                continue
    for part in list(vars(config).values()):
        if hasattr(part, "to_dict") and hasattr(part, "model_type"):
            shrink(part)


def of_text() -> Iterator[tuple[str, Callable[[], nn.Module], Callable[[Tensor], Any]]]:
    """Every sequence classifier of transformers."""
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING as MAPPING

    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, VOCABULARY, (EXAMPLES, LENGTH), generator=generator)
    tokens[:, -1] = 2  # the end, which some read their logits at
    mask = torch.ones_like(tokens)
    for row in range(0, EXAMPLES, 3):
        tokens[row, 8], tokens[row, 9:], mask[row, 9:] = 2, 0, 0
    for name, config_class, found in _configurations(MAPPING):

        def make(config_class: Any = config_class, found: Any = found) -> nn.Module:
            return found(_small(config_class))

        known = inspect.signature(found.forward).parameters
        both = {"input_ids": tokens}
        if "attention_mask" in known:
            both["attention_mask"] = mask
        yield name, make, partial(_rows, both)


def _rows(inputs: dict[str, Tensor], indices: Tensor) -> dict[str, Tensor]:
    return {name: values[indices] for name, values in inputs.items()}


def of_image() -> Iterator[tuple[str, Callable[[], nn.Module], Callable[[Tensor], Any]]]:
    """Every image classifier of transformers."""
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING as MAPPING

    images = torch.randn(EXAMPLES, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for name, config_class, found in _configurations(MAPPING):

        def make(config_class: Any = config_class, found: Any = found) -> nn.Module:
            return found(_small(config_class))

        def inputs(indices: Tensor, config_class: Any = config_class) -> dict[str, Tensor]:
            try:
                config = _small(config_class)
                config = getattr(config, "vision_config", config)
                size = getattr(config, "image_size", 64)
                size = size[0] if isinstance(size, list | tuple) else size
                channels = getattr(config, "num_channels", 3)
            except Exception:  # a configuration without such values says so in its own way
                size, channels = 64, 3
            size = min(64, size)
            return {"pixel_values": images[indices][:, :channels, :size, :size]}

        yield name, make, inputs


SOURCES = {"torchvision": of_torchvision, "text": of_text, "image": of_image}

if __name__ == "__main__":
    main()
