"""Image classifiers of transformers: from the hub or a folder, with a fresh head."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from crest.data.files import ImageMeta, Meta
from crest.data.preprocessing import Preprocessing
from crest.devices.generators import torch_seed
from crest.errors import ParameterError, needs_extra
from crest.files.checkpoint_files import CONFIG, check_description, check_folder, read_json
from crest.files.hub import locate
from crest.models.grafting import graft, head_keys
from crest.models.head import features_and_logits
from crest.models.hub_files import check_file, hub_file, read_metadata, read_tensors
from crest.models.text import first_line, own_configuration, quiet
from crest.parameters.sections import TrainParameters

PROCESSOR = "preprocessor_config.json"
RANDOM, PRETRAINED = "random", "pretrained"
RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


class HubImageClassifier(nn.Module):
    """An image classifier of transformers that takes images and returns its logits.

    Parameters
    ----------
    network
        Answers with an object that has ``logits``, B×C.
    resized
        Whether images are of another size than its position embeddings, which are interpolated
        then.
    """

    def __init__(self, network: nn.Module, resized: bool) -> None:
        super().__init__()
        self.network = network
        known = signature(network.forward).parameters
        self._options = (
            {"interpolate_pos_encoding": True}
            if resized and "interpolate_pos_encoding" in known
            else {}
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, B×C, of B×C×H×W images."""
        logits: Tensor = self.network(pixel_values=images, **self._options).logits
        return logits


@dataclass(frozen=True)
class HubImageSpec:
    """What it takes to build an image classifier of transformers, all but its weights.

    Attributes
    ----------
    name
        On the Hugging Face hub, or a local folder.
    classes
        Number of logits.
    image_shape
        Height, width and channels of the images it takes.
    config
        The architecture, as the JSON of a configuration of transformers.
    weights
        What it starts from, as train.weights has it; None for those of its name.
    preprocessing
        How it wants images.
    """

    KIND: ClassVar[str] = "hub image"

    name: str
    classes: int
    image_shape: tuple[int, int, int]
    config: str
    weights: str | None = field(default=None, compare=False)
    preprocessing: Preprocessing | None = None

    @classmethod
    def for_data(
        cls,
        settings: TrainParameters,
        classes: int,
        image_shape: tuple[int, int, int],
        preprocessing: Preprocessing | None,
    ) -> "HubImageSpec":
        """Return the spec of train.model for images of a shape.

        Raises
        ------
        ParameterError
            If there is no such model.
        """
        values = own_configuration(_description(settings.model))
        config = json.dumps(values, sort_keys=True)
        weights = settings.weights
        return cls(settings.model, classes, image_shape, config, weights, preprocessing)

    def fresh(self, seed: int) -> nn.Module:
        """Return the model with its weights and a head drawn from the seed, on the CPU.

        Raises
        ------
        ParameterError
            If the weights are missing or incomplete, or the model cannot take such images.
        """
        model = self._drawn(seed)
        if self.weights == RANDOM:
            return model
        if self.weights not in (None, PRETRAINED):
            path = Path(str(self.weights)).expanduser()
            check_file(path)
            ours = "schema_version" in read_metadata(path)
            tensors = read_tensors(path)
            if not ours:
                tensors = {f"network.{key}": value for key, value in tensors.items()}
            graft(model, tensors, str(path), keep_head=True)
            return model
        graft(model, self._pretrained(model), self.name, keep_head=False)
        return model

    def empty(self) -> nn.Module:
        """Return the model with weights of no meaning, for a file's to be copied into."""
        return self._drawn(seed=0)

    def misfit(self, meta: Meta) -> str | None:
        """Say why the model is none for these prepared data; None if it is one."""
        if not isinstance(meta, ImageMeta):
            return "a model of images; the prepared data are text"
        return misfit_of_images(self.classes, self.image_shape, meta, self.preprocessing)

    def metadata(self) -> dict[str, str]:
        """Return the spec as safetensors stores it: text to text."""
        optional = {"weights": self.weights}
        if self.preprocessing is not None:
            optional["preprocessing"] = self.preprocessing.as_json()
        return {
            "kind": self.KIND,
            "model": self.name,
            "classes": str(self.classes),
            "image_shape": json.dumps(self.image_shape),
            "config": self.config,
            **{name: text for name, text in optional.items() if text is not None},
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "HubImageSpec":
        """Return the spec that :meth:`metadata` stored; KeyError or ValueError if it cannot be."""
        config = json.loads(metadata["config"])
        if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
            raise ValueError("config names no architecture")
        height, width, channels = (int(size) for size in json.loads(metadata["image_shape"]))
        text = metadata.get("preprocessing")
        return cls(
            metadata["model"],
            int(metadata["classes"]),
            (height, width, channels),
            metadata["config"],
            metadata.get("weights"),
            None if text is None else Preprocessing.from_json(text),
        )

    def __str__(self) -> str:
        height, width, channels = self.image_shape
        return f"{self.name} for {self.classes} classes and {height} x {width} x {channels} images"

    def _drawn(self, seed: int) -> nn.Module:
        with needs_extra("text"):
            from transformers import AutoConfig, AutoModelForImageClassification

        values = json.loads(self.config)
        check_description(values, self.name)
        kind = values.pop("model_type")
        with torch.random.fork_rng(devices=[]), quiet():
            torch.default_generator.manual_seed(torch_seed(seed))
            try:
                config = AutoConfig.for_model(kind, **values, num_labels=self.classes)
                network = AutoModelForImageClassification.from_config(
                    config, trust_remote_code=False, dtype=torch.float32
                )
            # What a model raises for an odd configuration is of every kind.
            except Exception as error:
                raise ParameterError(
                    f"train.model: {self.name} cannot be built as an image classifier of "
                    f"transformers, a '{kind}' ({first_line(error)}); use another model"
                ) from None
            size = getattr(config, "image_size", None)
            sides = {*size} if isinstance(size, list | tuple) else {size}
            resized = size is not None and sides != {*self.image_shape[:2]}
            model = HubImageClassifier(network, resized)
            self._try(model)
        return model.train()

    def _try(self, model: nn.Module) -> None:
        """Run one black image, so that a misfit shows before any training."""
        height, width, channels = self.image_shape
        model.eval()
        try:
            with torch.no_grad():
                features_and_logits(model, torch.zeros(1, channels, height, width))
        except ParameterError:
            raise
        # What a model raises for what it was not made for is of every kind.
        except Exception as error:
            raise ParameterError(
                f"train.model: {self.name} cannot take images of {height} x {width} x {channels} "
                f"({first_line(error)}); prepare them of its size (prepare.image_size)"
            ) from None

    def _pretrained(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the weights of the checkpoint, by the names that ``model`` has for them."""
        with needs_extra("text"):
            from transformers import AutoModelForImageClassification

        place = locate(self.name, "train.model")
        network: Any = model.network
        try:
            with quiet():
                loaded, report = AutoModelForImageClassification.from_pretrained(
                    place.name,
                    local_files_only=place.local_files_only,
                    config=network.config,
                    use_safetensors=True,
                    trust_remote_code=False,
                    dtype=torch.float32,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                )
        # What transformers raises for files that do not fit is of every kind.
        except Exception as error:
            raise _unloadable(self.name, error) from None
        head = {key.removeprefix("network.") for key in head_keys(model)}
        mismatched = [key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]]
        odd = sorted(key for key in {*report["missing_keys"], *mismatched} if key not in head)
        if odd:
            raise ParameterError(
                f"train.model: {self.name} lacks {len(odd)} pretrained weights of its "
                f"architecture, such as {odd[0]}, or has them of other shapes; use another "
                "checkpoint"
            )
        return {f"network.{key}": value for key, value in loaded.state_dict().items()}


def misfit_of_images(
    classes: int,
    image_shape: tuple[int, int, int],
    meta: ImageMeta,
    preprocessing: Preprocessing | None,
) -> str | None:
    """Say why a model is none for prepared images; None if it is one."""
    height, width, channels = meta.image_shape
    shape = (height, width, channels)
    expected = shape if preprocessing is None else preprocessing.shape(shape)
    if (classes, image_shape) == (len(meta.classes), expected):
        return None
    return (
        f"a model of {classes} classes and images {list(image_shape)}; the prepared data have "
        f"{len(meta.classes)} classes and images {list(expected)}"
    )


def hub_preprocessing(name: str) -> Preprocessing:
    """Return how a model of transformers wants images: what its preprocessor_config.json says.

    Raises
    ------
    ParameterError
        If it has none, or one that says nothing of normalisation.
    """
    place = locate(name, "train.model")
    path = (
        Path(place.name) / PROCESSOR
        if place.is_folder
        else hub_file(name, PROCESSOR, "train.model")
    )
    if not path.is_file():
        raise ParameterError(
            f"train.model: {path}: no such file, which says how the model wants its images; put it "
            "there, as image processors save it"
        )
    values = read_json(path)
    scale = (
        255.0 * float(values.get("rescale_factor", 1 / 255))
        if _says(values, "do_rescale")
        else 255.0
    )
    mean, std = (values.get(f"image_{key}") for key in ("mean", "std"))
    if not _says(values, "do_normalize"):
        mean, std = [0.0] * 3, [1.0] * 3
    if not isinstance(mean, list) or not isinstance(std, list) or len(mean) != len(std) or not mean:
        raise ParameterError(
            f"train.model: {path}: says nothing of image_mean and image_std; correct it"
        )
    found = Preprocessing(
        tuple(float(value) / scale for value in mean),
        tuple(float(value) / scale for value in std),
        _side(values.get("crop_size") if values.get("do_center_crop") else None)
        or _side(values.get("size")),
        RESAMPLING.get(values.get("resample", -1)),
        f"{name}'s {PROCESSOR}",
    )
    if not all(value > 0 for value in found.std):
        raise ParameterError(f"train.model: {path}: image_std holds {min(found.std)}; correct it")
    return found


def _says(values: Mapping[str, Any], key: str) -> bool:
    return bool(values.get(key, True))


def _side(size: Any) -> int | None:
    """Return the pixels a side of a size as image processors write it."""
    if isinstance(size, Mapping):
        size = next((size[key] for key in ("height", "shortest_edge") if key in size), None)
    return size if isinstance(size, int) else None


def _description(name: str) -> dict[str, Any]:
    """Return the description of a model of the hub or in a folder, checked."""
    place = locate(name, "train.model")
    if place.is_folder:
        return check_folder(Path(place.name))
    values = read_json(hub_file(name, CONFIG, "train.model"))
    check_description(values, name)
    return values


def _unloadable(name: str, error: Exception) -> ParameterError:
    return ParameterError(
        f"train.model: {name} cannot be loaded ({first_line(error)}); name a model of the Hugging "
        "Face hub, or a folder with config.json, preprocessor_config.json and model.safetensors "
        "(where HF_HUB_OFFLINE is set, one that is in the cache)"
    )
