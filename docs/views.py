"""The picture of docs/views.md, written beside it: python docs/views.py."""

from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms.v2 import functional

from crest.data.augment import Augmentation
from crest.data.views.making import draw_views, make_views
from crest.training.mixing import Mixing, mix

PICTURE = Path(__file__).with_name("views.png")
SIZE, VIEWS = 112, 6
MEAN, STD = torch.full((3,), 0.45), torch.full((3,), 0.25)
ROWS = {
    "augment_crop: 14,\naugment_flip: true": Augmentation(crop=14, flip=True),
    "augment_scale:\n[0.08, 1.0]": Augmentation(scale=(0.08, 1.0)),
    "augment_policy:\ntrivialaugment": Augmentation(policy="trivialaugment"),
    "augment_policy:\nrandaugment": Augmentation(policy="randaugment"),
    "augment_color: 0.4,\naugment_hue: 0.1": Augmentation(color=0.4, hue=0.1),
    "augment_erasing: 1.0": Augmentation(erasing=1.0),
}
MIXED = {"mixup: 1.0": Mixing(1.0, 0.0), "cutmix: 1.0": Mixing(0.0, 1.0)}


def photograph(name: str) -> Tensor:
    """Return the middle of one of scikit-learn's; uint8, SIZE×SIZE×3."""
    whole = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)
    middle = functional.center_crop(whole, [min(whole.shape[1:])] * 2)
    return functional.resize(middle, [SIZE, SIZE]).permute(1, 2, 0).contiguous()


def pictures(inputs: Tensor) -> Tensor:
    """Return normalised inputs as they were seen, k×H×W×3 from 0 to 1."""
    return (inputs.permute(0, 2, 3, 1) * STD + MEAN).clamp(0.0, 1.0)


def rows() -> dict[str, Tensor]:
    """Return the views of each row."""
    generator = torch.Generator().manual_seed(3)
    image, other = photograph("china.jpg"), photograph("flower.jpg")
    same = image.expand(VIEWS, -1, -1, -1).contiguous()
    found = {}
    for name, augmentation in ROWS.items():
        draws = draw_views(VIEWS, augmentation, generator)
        found[name] = pictures(make_views(same, draws, augmentation, MEAN, STD))
    plain = make_views(torch.stack([image, other]), torch.empty(2, 0), Augmentation(), MEAN, STD)
    for name, mixing in MIXED.items():
        views = []
        for _ in range(VIEWS):
            drawn = mixing.draw(2, SIZE, SIZE, generator)
            mixed, _ = mix(plain, torch.zeros(2, dtype=torch.int64), torch.ones(2), drawn)
            views.append(mixed[0])
        found[name] = pictures(torch.stack(views))
    return found


def main() -> None:
    """Draw it, in 256 colours."""
    found = rows()
    figure, grid = plt.subplots(len(found), VIEWS, figsize=(7.2, 7.6))
    for axes, (name, views) in zip(grid, found.items(), strict=True):
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        for place, view in zip(axes, views, strict=True):
            place.imshow(view.numpy())
            place.set(xticks=[], yticks=[])
            place.spines[:].set_visible(False)
    figure.subplots_adjust(left=0.2, right=0.995, top=0.995, bottom=0.005, wspace=0.04, hspace=0.04)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=90)
    Image.open(drawn).convert("RGB").quantize(256).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
