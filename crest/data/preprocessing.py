"""How a pretrained network wants its images, in place of the data's own statistics."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

OWN = "the data's own statistics"


@dataclass(frozen=True)
class Preprocessing:
    """What the weights of a network were trained with.

    Attributes
    ----------
    mean, std
        Per channel, on the scale 0 to 1. One image channel is repeated where there are more.
    size
        Pixels a side; None where the weights do not say.
    interpolation
        How images were resized to it; None where the weights do not say.
    source
        Who says so.
    resized
        Pixels a side that images are resized to on their way into the network; None: they stay.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None = None
    interpolation: str | None = None
    source: str = ""
    resized: int | None = None

    @classmethod
    def of_data(cls, mean: Sequence[float], std: Sequence[float]) -> "Preprocessing":
        """Return what normalises data by their own statistics."""
        return cls(tuple(mean), tuple(std), source=OWN)

    @property
    def is_of_data(self) -> bool:
        """Whether it says no more than what the data themselves do."""
        return self.source == OWN

    def as_json(self) -> str:
        """Return it as JSON, for the head of a file of weights."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Preprocessing":
        """Return what :meth:`as_json` wrote.

        Raises
        ------
        ValueError, TypeError, KeyError
            If the text is no such thing.
        """
        values = json.loads(text)
        mean, std = (tuple(float(number) for number in values[name]) for name in ("mean", "std"))
        if not mean or len(mean) != len(std) or not all(deviation > 0 for deviation in std):
            raise ValueError("mean and std make no sense")
        size, interpolation = values["size"], values["interpolation"]
        resized = values["resized"]
        return cls(
            mean,
            std,
            None if size is None else int(size),
            None if interpolation is None else str(interpolation),
            str(values["source"]),
            None if resized is None else int(resized),
        )

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return height, width and channels of the inputs made of such images."""
        height, width, channels = image_shape
        if self.resized is not None:
            height = width = self.resized
        return height, width, len(self.mean) if channels == 1 else channels
