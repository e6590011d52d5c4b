"""What may be wrong with weights to start from."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch

from tests.bad_input.breaks import content, cut
from tests.bad_input.case import Case
from tests.bad_input.project import MODEL

RANDOM = "train --method random"
OWN = f"{RANDOM} -S train.weights={MODEL}"


@contextmanager
def no_cache() -> Iterator[None]:
    """Let torch's cache be a folder that is not there, and no network either."""
    offline = patch.dict(os.environ, {"HF_HUB_OFFLINE": "1"})
    with offline, patch.object(torch.hub, "_hub_dir", "no-cache"):
        yield


# fmt: off

PRETRAINED = [
    Case("weights of a name that torchvision does not have",
         f"{RANDOM} -S train.model=resnet18 -S train.weights=IMAGENET1K_V9",
         "train.weights: torchvision has no 'IMAGENET1K_V9' of resnet18; it has pretrained, "
         "IMAGENET1K_V1", code=2),
    Case("weights of a model that has none", f"{RANDOM} -S train.weights=pretrained",
         "train.weights: 'pretrained': there are no pretrained weights of convnet; name a "
         ".safetensors file of it, such as an earlier run's model.safetensors, or leave it null",
         code=2),
    Case("weights that are not in the cache, offline",
         f"{RANDOM} -S train.model=resnet18 -S train.stem=imagenet -S train.weights=pretrained",
         "train.weights: no-cache/checkpoints/resnet18-f37072fd.pth: no such file, and "
         "HF_HUB_OFFLINE is set; download https://…/resnet18-f37072fd.pth where there is a "
         "network, and put it at no-cache/checkpoints/resnet18-f37072fd.pth ($TORCH_HOME moves "
         "that folder), or name a local .safetensors file", code=2, surroundings=no_cache),
    Case("weights of a large image's first layer for small images",
         f"{RANDOM} -S train.model=resnet18 -S train.weights=pretrained",
         "train.weights: resnet18's are of a first convolution of 7 x 7, and train.stem: cifar has "
         "another; set train.stem to imagenet", code=2),
    Case("a file of weights that is not there", f"{RANDOM} -S train.weights=none.safetensors",
         "train.weights: none.safetensors: no such file; correct it", code=2),
    Case("a pickle of weights", f"{RANDOM} -S train.weights=weights.pth",
         "train.weights: weights.pth: a pickle, which can run any code when it is read; save its "
         "weights as safetensors: safetensors.torch.save_file(torch.load(FILE, "
         "weights_only=True), NEW)", content("weights.pth", b"\x80"), code=2),
    Case("a file of weights cut short", OWN,
         f"train.weights: {MODEL}: not a safetensors file, or cut short or damaged (…); copy or "
         "download it again", cut(MODEL), code=2),
    Case("a file of another model's weights", f"{OWN} -S train.model=resnet8",
         f"train.weights: {MODEL}: of train.model: convnet, and it is resnet8 here; set it to "
         "convnet", code=2),
    Case("a backbone frozen as it was drawn", f"{RANDOM} -S train.freeze=backbone",
         "train.freeze: backbone, and convnet starts from random weights, which would stay; set "
         "train.weights, such as to pretrained", code=2),
    Case("nothing pretrained to embed by", "embed",
         "embed: convnet would start from random weights, which tell nothing; set train.weights, "
         "such as to pretrained, or name a model of the hub (--model)", code=2),
]
