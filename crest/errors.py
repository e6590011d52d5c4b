"""Errors for people: what is wrong, where, and what to do; anything else raised is a bug."""


class CrestError(Exception):
    """A failure that its message explains in full; the command line prints it and exits with 1."""

    exit_code = 1


class ParameterError(CrestError):
    """A parameter, or a combination of them, that cannot be used; exit code 2."""

    exit_code = 2


class DataError(CrestError):
    """Data that cannot be used: the message names the file and the row."""


class ArtifactError(CrestError):
    """A saved file that is missing, damaged or of another kind than expected."""


class Interrupted(CrestError):  # noqa: N818 (nothing went wrong)
    """A run that was told to stop, by the signal with this number, and saved its state."""

    def __init__(self, signal_number: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


class TrainingError(CrestError):
    """A training run that cannot go on, such as one whose loss is no longer a number."""
