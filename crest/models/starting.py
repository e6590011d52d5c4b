"""What a model of images starts from: random weights, a library's, or those of a file.

Nothing is downloaded that is not asked for. Naming weights asks: ``train.weights``, or a
``train.model`` that is a repository, OWNER/NAME. Without a network, or with HF_HUB_OFFLINE set, the
caches of torch and of the hub are all there is. Weights are read as safetensors; torchvision
has pickles alone, of which ``weights_only=True`` reads tensors and nothing else, after the hash in
the file's name was checked.
"""

import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from crest.data.preprocessing import Preprocessing
from crest.errors import ParameterError, needs_extra
from crest.files.hub import is_path_like
from crest.models.grafting import graft
from crest.models.hub_files import PICKLES, check_file, read_metadata, read_tensors

RANDOM, PRETRAINED = "random", "pretrained"
KEY = "train.weights"
AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")  # of torchvision's inception networks
OFFLINE = "HF_HUB_OFFLINE"
HASH = re.compile(r"-([a-f0-9]{8,})\.")


class Start(Protocol):
    """Where weights come from."""

    def preprocessing(self) -> Preprocessing | None:
        """Return how they want images; None for the data's own statistics."""
        ...

    def put_into(self, model: nn.Module, image_shape: tuple[int, int, int], stem: str) -> None:
        """Copy them into a fresh model, all but its head; raises :class:`ParameterError`."""
        ...


def start_of(model: str, weights: str | None) -> Start | None:
    """Return what an architecture starts from by train.model and train.weights; None: at random.

    Raises
    ------
    ParameterError
        If there are no such weights.
    """
    if weights == RANDOM or (weights is None and "/" not in model):
        return None
    if weights is not None and is_file(weights):
        path = Path(weights).expanduser()
        check_file(path)
        return FileWeights(path, model)
    if model.startswith("timm/"):
        from crest.models import timm_models

        name = timm_models.with_tag(model, weights or PRETRAINED)
        timm_models.check(name)
        return TimmWeights(name)
    return TorchvisionWeights(model, _of_torchvision(model, weights or PRETRAINED))


def is_file(weights: str) -> bool:
    """Whether train.weights names a file."""
    return is_path_like(weights) or "/" in weights or weights.endswith((".safetensors", *PICKLES))


def is_of_a_run(path: Path) -> bool:
    """Whether a safetensors file is one that train wrote."""
    check_file(path)
    return "schema_version" in read_metadata(path)


@dataclass(frozen=True)
class FileWeights:
    """Those of a safetensors file; its head too, where it has as many classes."""

    path: Path
    model: str

    def preprocessing(self) -> Preprocessing | None:
        """Return what the file says; of a file of others what is usual for the library's model.

        A file that train wrote of a model that began at random says nothing: its data were
        normalised by their own statistics, and so are these.
        """
        metadata = read_metadata(self.path)
        if text := metadata.get("preprocessing"):
            try:
                found = Preprocessing.from_json(text)
            except (ValueError, TypeError, KeyError):
                raise ParameterError(
                    f"{KEY}: {self.path}: damaged: what it says of its images makes no sense"
                ) from None
            return None if found.is_of_data else found
        if "schema_version" in metadata:
            return None
        return _usual(self.model)

    def put_into(self, model: nn.Module, image_shape: tuple[int, int, int], stem: str) -> None:
        """Copy them."""
        metadata = read_metadata(self.path)
        for name, own in (("model", self.model), ("stem", stem)):
            found = metadata.get(name, own) if "schema_version" in metadata else own
            if found != own:
                raise ParameterError(
                    f"{KEY}: {self.path}: of train.{name}: {found}, and it is {own} here; set it "
                    f"to {found}"
                )
        graft(model, read_tensors(self.path), str(self.path), keep_head=True)


@dataclass(frozen=True)
class TimmWeights:
    """Those that timm names, from the hub."""

    name: str

    def preprocessing(self) -> Preprocessing:
        """Return timm's."""
        from crest.models import timm_models

        return timm_models.preprocessing(self.name)

    def put_into(self, model: nn.Module, image_shape: tuple[int, int, int], stem: str) -> None:
        """Copy them."""
        from crest.models import timm_models

        tensors = timm_models.state(self.name, image_shape)
        graft(model, tensors, self.name, keep_head=False)


@dataclass(frozen=True)
class TorchvisionWeights:
    """Those of an enumeration of torchvision."""

    model: str
    weights: Any

    def preprocessing(self) -> Preprocessing:
        """Return what torchvision's transforms do."""
        transforms = self.weights.transforms()
        return Preprocessing(
            tuple(map(float, transforms.mean)),
            tuple(map(float, transforms.std)),
            int(transforms.crop_size[0]),
            str(transforms.interpolation.value),
            f"torchvision's {type(self.weights).__name__}.{self.weights.name}",
        )

    def put_into(self, model: nn.Module, image_shape: tuple[int, int, int], stem: str) -> None:
        """Copy them; position embeddings of a ViT are interpolated."""
        with needs_extra("images"):
            from torchvision.models import ResNet, VisionTransformer
            from torchvision.models.vision_transformer import interpolate_embeddings

        if isinstance(model, ResNet) and stem != "imagenet":
            raise ParameterError(
                f"{KEY}: {self.model}'s are of a first convolution of 7 x 7, and train.stem: "
                f"{stem} has another; set train.stem to imagenet"
            )
        tensors = torchvision_state(self.weights.url)
        if isinstance(model, VisionTransformer):
            tensors = dict(interpolate_embeddings(image_shape[0], model.patch_size, tensors))
        what = self.preprocessing().source
        graft(model, tensors, what, keep_head=False, spare=AUXILIARY)


def _usual(model: str) -> Preprocessing | None:
    """Return how a library's usual weights of a model want images; None of our own models."""
    try:
        start = start_of(model, PRETRAINED)
    except ParameterError:
        return None
    return None if start is None else start.preprocessing()


def _of_torchvision(model: str, weights: str) -> Any:
    """Return the member of torchvision's enumeration."""
    from crest.models import torchvision_models

    if model not in torchvision_models.names():
        raise ParameterError(
            f"{KEY}: '{weights}': there are no pretrained weights of {model}; name a .safetensors "
            "file of it, such as an earlier run's model.safetensors, or leave it null"
        )
    with needs_extra("images"):
        import torchvision

    known = torchvision.models.get_model_weights(model)
    name = "DEFAULT" if weights == PRETRAINED else weights.rpartition(".")[2]
    try:
        return known[name]
    except KeyError:
        names = [*(["pretrained"] if len(known) else []), *(one.name for one in known)]
        raise ParameterError(
            f"{KEY}: torchvision has no '{weights}' of {model}; it has {', '.join(names) or 'none'}"
        ) from None


def torchvision_state(url: str) -> dict[str, Tensor]:
    """Return the weights of a file of torchvision's, downloaded if it is not in torch's cache.

    It is held against the hash in its name each time, and read as tensors alone.

    Raises
    ------
    ParameterError
        If it is not to be had, or not the file that its name says.
    """
    name = Path(urlparse(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        _download(url, path)
    expected = HASH.search(name)
    with path.open("rb") as file:
        digest = sha256()
        while block := file.read(2**20):
            digest.update(block)
    if expected is not None and not digest.hexdigest().startswith(expected[1]):
        raise ParameterError(
            f"{KEY}: {path}: damaged, or another file: its SHA-256 does not begin with "
            f"{expected[1]}, as its name says; remove it and download it again"
        )
    try:
        found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    # What unpickling refuses is of every kind.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ParameterError(
            f"{KEY}: {path}: holds more than tensors, which is not read ({reason}); remove it"
        ) from None
    return found


def _download(url: str, path: Path) -> None:
    advice = (
        f"download {url} where there is a network, and put it at {path} ($TORCH_HOME moves that "
        "folder), or name a local .safetensors file"
    )
    if os.environ.get(OFFLINE, "").upper() in ("1", "ON", "YES", "TRUE"):
        raise ParameterError(f"{KEY}: {path}: no such file, and {OFFLINE} is set; {advice}")
    expected = HASH.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), expected and expected[1], progress=False)
    except (OSError, RuntimeError) as error:  # of urllib those are OSErrors
        raise ParameterError(
            f"{KEY}: {path}: no such file, and it cannot be downloaded ({error}); {advice}"
        ) from None
