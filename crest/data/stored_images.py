"""The images of a prepared split one at a time, however they are stored."""

from pathlib import Path
from typing import Protocol

import numpy as np

from crest.data.files import ImageMeta, damaged, open_array
from crest.data.sources import Pixels


class StoredImages(Protocol):
    """Images as models are evaluated on them."""

    def __getitem__(self, index: int) -> Pixels:
        """Return an image, uint8, H×W×C."""
        ...


def open_images(folder: Path, split: str, meta: ImageMeta) -> StoredImages:
    """Open the images of a split; only those that are asked for are read.

    Raises
    ------
    ArtifactError
        If a file is absent, damaged, or disagrees with meta.json.
    """
    if meta.storage == "encoded":
        from crest.data.encoded import EncodedImages  # which takes the time to import torch

        return EncodedImages(folder, split, meta)
    images = open_array(folder, split, "images")
    expected = (meta.sizes[split], *meta.image_shape)
    if images.shape != expected or images.dtype != np.uint8:
        found = f"{images.dtype} {list(images.shape)}, meta.json says {list(expected)} of uint8"
        raise damaged(folder / f"{split}_images.npy", found)
    return images
