"""What transformers loads by name: a folder of this machine, or a repository of the hub."""

from dataclasses import dataclass
from pathlib import Path

from crest.errors import ParameterError, needs_extra

SECONDS = 10.0  # to wait for the hub's first answer


@dataclass(frozen=True)
class Place:
    """Where to load from: what ``from_pretrained`` takes.

    ``local_files_only`` is true for a folder, and where the hub does not answer: transformers would
    ask it for every file again and again before it looks into its cache.
    """

    name: str
    is_folder: bool
    local_files_only: bool


def locate(name: str, key: str) -> Place:
    """Tell folders from names of the hub; what looks like a path is one.

    Parameters
    ----------
    key
        The parameter that gives the name, for messages.

    Raises
    ------
    ParameterError
        If it is a path, and no folder is there.
    """
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return Place(str(path), is_folder=True, local_files_only=True)
        wrong = "is a file; name its folder" if path.exists() else "no such folder; correct it"
    except (OSError, RuntimeError, ValueError) as error:  # too long, or of nobody's home
        wrong = f"cannot be a folder ({getattr(error, 'strerror', None) or error}); correct it"
    if is_path_like(name) or wrong.startswith("is a file"):
        raise ParameterError(f"{key}: {name}: {wrong}")
    return Place(name, is_folder=False, local_files_only=not _answers(name))


def is_path_like(name: str) -> bool:
    """Whether a name cannot be NAME or OWNER/NAME of the hub."""
    return (
        name.startswith((".", "/", "~"))
        or name.count("/") > 1
        or name.endswith("/")
        or "\\" in name
    )


def _answers(name: str) -> bool:
    """Whether the hub answers at once, whatever it says."""
    with needs_extra("text"):
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(name, timeout=SECONDS)
    except HfHubHTTPError:
        return True
    # No network, no name server, a proxy that refuses, offline by the environment: of every kind.
    except Exception:
        return False
    return True
