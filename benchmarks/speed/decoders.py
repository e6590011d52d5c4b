"""What a photograph costs from its JPEG to a training view, by decoder and by part.

    python -m benchmarks.speed.decoders --turns 15

Photographs as of :mod:`benchmarks.speed.images`. Each decoder that is installed decodes them whole
on one thread: processor milliseconds an image, the least of several turns, and by how much its
pixels differ from Pillow's at most. Then the parts of a view: a random part decoded, resized to 224
pixels, and a batch normalised into fresh memory and into memory that is used again; and what
evaluation sees, decoded, resized and cut to the square in the middle.
"""

import argparse
import io
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.shared.photographs import photographs
from crest.data import jpeg
from crest.data.augment import Augmentation, normalise
from crest.data.decoding import Square, decode
from crest.data.views.boxes import draw_boxes
from crest.data.views.crops import crop_boxes
from crest.data.views.resizing import resized

SIDE = 224
HEIGHT, WIDTH = 375, 500
CROPS = Augmentation(scale=(0.08, 1.0))
Decode = Callable[[bytes], Any]


def pillow(content: bytes) -> Any:
    """Decode by Pillow."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def _tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


# Of each package: its decoder, given the module.
PACKAGES: dict[str, Callable[[Any], Decode]] = {
    "simplejpeg": lambda it: lambda content: it.decode_jpeg(content, "RGB"),
    "imagecodecs": lambda it: it.jpeg8_decode,
    "cv2": lambda it: (
        lambda content: it.imdecode(np.frombuffer(content, np.uint8), it.IMREAD_COLOR_RGB)
    ),
    "torchcodec.decoders": lambda it: (
        lambda content: it.decode_jpeg(_tensor(content), mode="RGB").permute(1, 2, 0)
    ),
    "torchvision.io": lambda it: (
        lambda content: it.decode_jpeg(_tensor(content), it.ImageReadMode.RGB).permute(1, 2, 0)
    ),
    "pyvips": lambda it: lambda content: it.Image.new_from_buffer(content, "").numpy(),
}


def milliseconds(work: Callable[..., Any], each: Sequence[Any], turns: int) -> float:
    """Return processor milliseconds an image, the least of some turns; results are let go."""
    found = []
    for _ in range(turns):
        started = time.process_time()
        for one in each:
            work(*one)
        found.append((time.process_time() - started) / len(each) * 1000)
    return min(found)


def decoders(contents: list[bytes], turns: int) -> None:
    """Print what each decoder takes."""
    expected = [pillow(content).astype(int) for content in contents]
    print("| decoder | ms | differs from Pillow's pixels by at most |\n|---|---|---|")
    found: dict[str, Decode] = {"Pillow": pillow}
    for name, of in PACKAGES.items():
        try:
            found[name] = of(import_module(name))
        except (ImportError, OSError):
            print(f"| {name} | not installed | |")
    for name, decoder in found.items():
        pairs = zip(contents, expected, strict=True)
        far = max(int(np.abs(np.asarray(decoder(one)) - pixels).max()) for one, pixels in pairs)
        took = milliseconds(decoder, [(content,) for content in contents], turns)
        print(f"| {name} | {took:.2f} | {far} |", flush=True)


def parts(contents: list[bytes], turns: int) -> None:
    """Print what each part of a view takes."""
    count = len(contents)
    heights, widths = torch.full((count,), HEIGHT), torch.full((count,), WIDTH)
    draws = draw_boxes(count, torch.Generator().manual_seed(0))
    pairs = [*zip(contents, crop_boxes(draws, heights, widths, CROPS).tolist(), strict=True)]
    cut = [torch.from_numpy(jpeg.part_of_jpeg(*pair).copy()) for pair in pairs]
    batch = torch.stack([resized(part, (SIDE, SIDE)) for part in cut])
    mean, std = torch.tensor([0.4, 0.5, 0.5]), torch.tensor([0.2, 0.3, 0.3])
    out = torch.empty(count, SIDE, SIDE, 3)
    print("\n| part of a view | ms |\n|---|---|")

    def say(name: str, work: Callable[..., Any], each: Sequence[Any], images: int = 1) -> None:
        print(f"| {name} | {milliseconds(work, each, turns) / images:.2f} |", flush=True)

    say(
        "a part decoded by Pillow", lambda content, box: jpeg.part_by_pillow(content, box, 1), pairs
    )
    say("a part decoded as it is here", jpeg.part_of_jpeg, pairs)
    square = Square(SIDE)
    whole = [(content,) for content in contents]
    say("as evaluation sees it, by Pillow", lambda content: decode(content, square), whole)
    say(
        "as evaluation sees it, as it is here",
        lambda content: decode(_read(content), square),
        whole,
    )
    say("resized", lambda part: resized(part, (SIDE, SIDE)), [(part,) for part in cut])
    images = batch, mean, std
    say("normalised into fresh memory", normalise, [images], count)
    say("normalised into memory used before", normalise, [(*images, out)], count)


def _read(content: bytes) -> Any:
    whole = jpeg.whole_jpeg(content)
    return content if whole is None else whole


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    contents = [bytes(content) for content in photographs(arguments.files)]
    decoders(contents, arguments.turns)
    parts(contents, arguments.turns)


if __name__ == "__main__":
    main()
