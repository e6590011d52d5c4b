"""Errors for people: what is wrong, where, and what to do.

Anything else raised is a bug.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


def printable(text: str, kept: str = "") -> str:
    """Return a text with what moves a cursor or cannot be written escaped, but for ``kept``."""
    return "".join(
        letter if letter.isprintable() or letter in kept else repr(letter)[1:-1] for letter in text
    )


def nearest(name: object, known: Iterable[str], prefix: str = "") -> str:
    """Return ``; did you mean 'this'?`` where a name is near to a known one, else nothing.

    ``prefix`` is what stands before every one of them.
    """
    plain = {_plainly(one): one for one in reversed(list(known))}
    close = get_close_matches(_plainly(str(name)), plain, n=1)
    return f"; did you mean '{prefix}{plain[close[0]]}'?" if close else ""


def not_one_of(name: object, known: Iterable[str]) -> str:
    """Say that a name is none of a list, what the list is, and which of it is nearest."""
    names = list(known)
    return f"{name!r} is not one of {', '.join(names)}{nearest(name, names)}"


def _plainly(name: str) -> str:
    """Return a name as people confuse it with others: no capitals, one mark between words."""
    return name.lower().replace("-", "_").replace(" ", "_")


class CrestError(Exception):
    """A failure that its message explains in full; the command line prints it and exits with 1."""

    exit_code = 1
    kept = ""  # unprintable characters that may stand in a message

    def __str__(self) -> str:
        """Return the message, what came from data in it made printable."""
        return printable(super().__str__(), self.kept)


class ParameterError(CrestError):
    """A parameter, or a combination of them, that cannot be used; exit code 2."""

    exit_code = 2
    kept = "\n"  # between several faults


class DataError(CrestError):
    """Data that cannot be used: the message names the file and the row."""


class ArtifactError(CrestError):
    """A saved file that is missing, damaged or of another kind than expected."""


class DamagedDataError(ArtifactError):
    """Prepared data that are other than when they were written."""


class DeviceMemoryError(CrestError):
    """Work on a single example that needs more memory than the GPU has free."""


class MissingPackageError(CrestError):
    """A package that is not installed; the message names the extra that brings it."""


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Import, within, what only an extra of the package brings.

    Raises
    ------
    MissingPackageError
        If something of it is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f'{error.name} is not installed; pip install "crest-coresets[{extra}]" brings it'
        ) from None


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop by the signal with this number.

    Not an :class:`Exception`, so that nobody takes it for a fault of what they were doing.
    """

    def __init__(self, signal_number: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


class InterruptedAtOnce(Interrupted):
    """A run that was asked so once more, and ends in the middle of whatever it does."""


class TrainingError(CrestError):
    """A training run that cannot go on, such as one whose loss is no longer a number."""


class DivergedError(TrainingError):
    """A training loss that is no finite number; ``what`` says where, without what to do."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}; lower train.lr or set train.precision to float32, and start with --fresh: "
            "the state before that is kept until then"
        )
        self.what = what


def diverged(loss: float, step: int, region: int) -> TrainingError:
    """Return the error of a training loss that is no finite number; region -1 for none."""
    if step == 0:
        return TrainingError(
            f"the loss is {loss} at step 0, before any training: the examples' inputs or the "
            "model's weights hold NaN or infinity, or are far too large; correct them"
        )
    where = f"step {step}" if region < 0 else f"step {step} (region {region})"
    return DivergedError(f"the training loss became {loss} at {where}")


class OrderError(CrestError):
    """Calls of the library in an order that makes no sense, such as a step without a mini-batch."""
