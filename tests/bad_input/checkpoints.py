"""What may be wrong with a trained model's file."""

import torch

from tests.bad_input.breaks import (
    checkpoint,
    checkpoint_holding,
    checkpoint_saying,
    content,
    cut,
    gone,
)
from tests.bad_input.case import Case
from tests.bad_input.project import MODEL, RUN, SELECT

TRAIN_AGAIN = "train it again, or name another file"

# fmt: off

WRITES = "train writes artifacts/train/METHOD/model.safetensors: "
CHECKPOINTS = [
    Case("no model", "evaluate",
         f"{RUN}/model.safetensors: no such file; {WRITES}"
         f"{TRAIN_AGAIN}", gone(MODEL)),
    Case("a checkpoint that is not there", "select --checkpoint none.safetensors --json",
         f"none.safetensors: no such file; {WRITES}"
         f"{TRAIN_AGAIN}"),
    Case("a folder for a checkpoint", f"select --checkpoint {RUN} --json",
         f"{RUN}: is a folder; name the model.safetensors in it"),
    Case("a model cut short", "evaluate",
         f"{RUN}/model.safetensors: not a safetensors file, or cut short or damaged …; "
         f"{TRAIN_AGAIN}", cut(MODEL)),
    Case("a model of 0 bytes", "evaluate",
         f"{RUN}/model.safetensors: not a safetensors file, or cut short or damaged …; "
         f"{TRAIN_AGAIN}", cut(MODEL, 0.0)),
    Case("a pickled model", SELECT,
         f"{RUN}/model.safetensors: not a safetensors file, or cut short or damaged …; "
         f"{TRAIN_AGAIN}", content(MODEL, b"\x80\x04\x95" + b"torch" * 99)),
    Case("a model of other classes", "evaluate",
         f"{RUN}/model.safetensors: a model of 5 classes and images [8, 8, 3]; the prepared "
         "data have 3 classes and images [8, 8, 3]; use a model trained on them",
         checkpoint(classes=5)),
    Case("a model for images of another size", "evaluate",
         f"{RUN}/model.safetensors: a model of 3 classes and images [16, 16, 3]; the prepared"
         " data have 3 classes and images [8, 8, 3]; use a model trained on them",
         checkpoint(side=16)),
    Case("a model that says it is another", SELECT,
         f"{RUN}/model.safetensors: holds another model than this ResNet20: conv.weight is "
         "not in the file; norm.weight is not in the file; norm.bias is not in the file and "
         f"129 more; {TRAIN_AGAIN}", checkpoint_saying(model="resnet20")),
    Case("a model that nobody knows", SELECT,
         f"{RUN}/model.safetensors: holds a model that cannot be built: train.model: "
         "'bignet' is not one of …", checkpoint_saying(model="bignet")),
    Case("a model that lacks a tensor", SELECT,
         f"{RUN}/model.safetensors: holds another model than this ConvNet: norms.2.weight is "
         f"not in the file; {TRAIN_AGAIN}", checkpoint_holding(lambda tensors: tensors.popitem())),
    Case("a model of a newer format", "evaluate",
         f"{RUN}/model.safetensors: written in version 2 of this format; this program reads "
         f"version 1; {TRAIN_AGAIN}", checkpoint_saying(schema_version="2")),
    Case("a description that makes no sense", "evaluate",
         f"{RUN}/model.safetensors: damaged: its description of the model makes no sense; "
         f"{TRAIN_AGAIN}", checkpoint_saying(classes="three")),
    Case("tensors that do not say whose they are", SELECT,
         f"{RUN}/model.safetensors: holds another model than this ConvNet: "
         "convolutions.0.weight is not in the file; convolutions.1.weight is not in the "
         f"file; convolutions.2.weight is not in the file and 17 more; {TRAIN_AGAIN}",
         checkpoint_holding(lambda tensors: tensors.clear())),
    Case("a name that is too long", f"select --checkpoint {'x' * 300} --json",
         f"…: no such file; {WRITES}{TRAIN_AGAIN}"),
    Case("weights that are NaN", SELECT,
         f"{RUN}/model.safetensors: linear.weight is not all finite numbers; "
         f"{TRAIN_AGAIN}",
         checkpoint_holding(lambda tensors: tensors["linear.weight"].fill_(torch.nan))),
    Case("metrics cut short", "evaluate",
         f"{RUN}/metrics.json: damaged JSON …; make it again",
         content(RUN / "metrics.json", b'{"method": "crest",')),
    Case("metrics without a figure", "evaluate",
         f"{RUN}/metrics.json: lacks 'method'; train again", content(RUN / "metrics.json", b"{}")),
]
