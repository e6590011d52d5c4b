"""timm's classifiers by name, and their weights on the hub."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from crest.data.preprocessing import Preprocessing
from crest.errors import ParameterError, needs_extra
from crest.files.checkpoint_files import WEIGHTS
from crest.models.hub_files import hub_file, read_tensors
from crest.models.text import first_line

with needs_extra("timm"):
    import timm

PREFIX = "timm/"  # of the names, which are those of the hub as well


def is_timm(name: str) -> bool:
    """Whether a model's name is one of timm's."""
    return name.startswith(PREFIX)


def check(name: str) -> None:
    """Refuse a name that timm does not know; :class:`ParameterError`."""
    own = _own(name)
    architecture, _, tag = own.partition(".")
    if not timm.is_model(architecture):
        close = get_close_matches(architecture, timm.list_models(), n=3)
        advice = f"did you mean {' or '.join(PREFIX + one for one in close)}?" if close else ""
        raise ParameterError(f"train.model: timm {timm.__version__} has no {own}; {advice}".strip())
    known = _tags(architecture)
    if tag and tag not in known:
        raise ParameterError(
            f"train.model: timm has no weights '{tag}' of {architecture}; it has "
            f"{', '.join(known) or 'none'}"
        )


def _tags(architecture: str) -> list[str]:
    """Return the tags of an architecture's weights, the usual first."""
    found = timm.list_pretrained(architecture + ".*")
    return [one.partition(".")[2] for one in found]


def with_tag(name: str, weights: str) -> str:
    """Return the name that train.model and train.weights make together.

    Raises
    ------
    ParameterError
        If both name weights, and different ones.
    """
    own = _own(name)
    if weights in ("pretrained", "DEFAULT"):
        return name
    architecture, _, tag = own.partition(".")
    if tag and tag != weights:
        raise ParameterError(
            f"train.weights: '{weights}', and train.model: {name} names '{tag}'; leave one out"
        )
    return f"{PREFIX}{architecture}.{weights}"


def preprocessing(name: str) -> Preprocessing:
    """Return what the weights of that name were trained with."""
    cfg = _described(name)
    return Preprocessing(
        tuple(map(float, cfg.mean)),
        tuple(map(float, cfg.std)),
        int(cfg.input_size[-1]),
        str(cfg.interpolation),
        f"timm's {cfg.architecture}{'.' + cfg.tag if cfg.tag else ''}",
    )


def build(name: str, classes: int, image_shape: Sequence[int], stem: str) -> nn.Module:
    """Return a classifier with weights from the global generator.

    Raises
    ------
    ParameterError
        If timm cannot build it for such images.
    """
    return _created(_own(name), classes, image_shape)


def state(name: str, image_shape: Sequence[int]) -> dict[str, Tensor]:
    """Return the weights of that name, their position embeddings as the images need them.

    They come from the hub, or its cache, as safetensors; where timm names other files too, such
    as pickles, these are not read.

    Raises
    ------
    ParameterError
        If they are not to be had, or are not of all of the model.
    """
    cfg = _described(name)
    if not cfg.hf_hub_id:
        raise ParameterError(
            f"train.weights: timm has no weights of {_own(name)} on the hub as safetensors; name "
            "others of timm.list_pretrained()"
        )
    path = hub_file(cfg.hf_hub_id, WEIGHTS, "train.weights")
    # Strict only with as many classes as the weights have: otherwise timm leaves random whatever
    # of the backbone a file lacks, without a word.
    model = _created(_own(name), cfg.num_classes, image_shape, read_tensors(path))
    return dict(model.state_dict())


def _created(
    own: str, classes: int, image_shape: Sequence[int], tensors: dict[str, Tensor] | None = None
) -> nn.Module:
    height, width, channels = image_shape
    options: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
    if tensors is not None:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": tensors}}
    sized = {"img_size": (height, width)}
    with _quiet():
        try:
            return timm.create_model(own, **options, **_if_fixed(own, sized))
        # What timm raises for what a model was not made for is of every kind.
        except Exception as error:
            reason = first_line(error)
            raise ParameterError(
                f"train.model: timm's {own} cannot be built for images of {height} x {width} x "
                f"{channels} ({reason}); prepare others (prepare.image_size), or use another model"
            ) from None


def _if_fixed(own: str, sized: dict[str, Any]) -> dict[str, Any]:
    """Return the size of the images for a model that is built for one."""
    cfg = timm.get_pretrained_cfg(own, allow_unregistered=True)
    return sized if cfg is not None and cfg.fixed_input_size else {}


def _described(name: str) -> Any:
    own = _own(name)
    cfg = timm.get_pretrained_cfg(own, allow_unregistered=True)
    if cfg is None or not cfg.has_weights:
        raise ParameterError(f"train.weights: timm has no weights of {own}; set it to random")
    return cfg


def _own(name: str) -> str:
    return name.removeprefix(PREFIX)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep timm from reporting what is meant to be."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
